#!/usr/bin/env bash
# FFmpeg's exported motion vectors of an even pan differ from frame to frame, and MPEG-4's B-frames say that nothing moves.
#
# Versions: PyAV 18.1.0 (its wheel's FFmpeg, libx264 and mpeg4 encoders), numpy 2.4.6. Python 3.11.
# Behaviour: flags2=+export_mvs gives each block's vector to the picture that it is predicted from, and `source` only
# says whether that lies before (-1) or behind (+1), not how far. So the same pan of 4 pixels a frame reads as 16 in a
# P-frame that refers to the P-frame before three B-frames, and as 4, 8 or 12 in those B-frames by their place: a
# vector is a speed only after division by a distance that has to be found from the order of pictures. In MPEG-4
# (part 2) B-frames, blocks that are coded in direct mode are exported with the difference that is coded, which for an
# even pan is 0, not with the vector that they move by.
# Output seen (median of horizontal vectors that point back, in pixels; pan of 4 pixels a frame):
#   libx264, 3 B-frames: P [16.0], B [4.0, 8.0, 12.0]
#   mpeg4, 2 B-frames: P [12.0], B [0.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/vectors.py" <<'PYTHON'
import sys

import av
import numpy as np
from av.video.frame import PictureType

WIDE = np.random.default_rng(0).integers(0, 256, (24, 120, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def pan(path, codec, b_frames, options):
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = b_frames, 60
        for number in range(1 + 4 * (b_frames + 1)):
            picture = np.ascontiguousarray(WIDE[:, 4 * number : 4 * number + 256])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def medians(path):
    found = {PictureType.P: set(), PictureType.B: set()}
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        stream.thread_type = "SLICE"
        for frame in container.decode(stream):
            for data in frame.side_data:
                if data.type.name == "MOTION_VECTORS" and frame.pict_type in found:
                    vectors = data.to_ndarray()
                    back = vectors[vectors["source"] == -1]
                    found[frame.pict_type].add(float(np.median(back["motion_x"] / back["motion_scale"])))
    return [sorted(each) for each in found.values()]


X264 = "threads=1:bframes=3:b-adapt=0:b-pyramid=none:ref=1:weightp=0:direct=none:scenecut=0"
for codec, b_frames, options in (("libx264", 3, {"x264-params": X264}), ("mpeg4", 2, {})):
    path = f"{sys.argv[1]}/{codec}.mp4"
    pan(path, codec, b_frames, options)
    forward, both = medians(path)
    print(f"{codec}, {b_frames} B-frames: P {forward}, B {both}")
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6 2> /dev/null
"$folder/venv/bin/python" "$folder/vectors.py" "$folder" 2> /dev/null | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
libx264, 3 B-frames: P [16.0], B [4.0, 8.0, 12.0]
mpeg4, 2 B-frames: P [12.0], B [0.0]
SEEN
echo "as described"
