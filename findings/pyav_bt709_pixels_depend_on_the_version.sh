#!/usr/bin/env bash
# One file, two PyAV versions, other colours: PyAV 16 turns BT.709 video into RGB by the matrix of BT.601.
#
# Versions: PyAV 16.1.0 and 17.0.0, numpy 2.4.6. Python 3.11.
# Behaviour: VideoFrame.to_ndarray(format="rgb24") of a frame that says that its colours are BT.709, as nearly all HD
# video does. PyAV 17 converts by the matrix that the frame names; PyAV 16 by FFmpeg's default, BT.601, whatever the
# frame says. The frame's colorspace reads BT.709 under both. Grey stays grey, so tests on grey pictures see nothing.
# A model that is fed by one version and measured by the other gets other pixels.
# Output seen, for a frame of one colour, Y 81, Cb 90, Cr 200:
#   PyAV 16.1.0: colorspace 1, red green blue 189 30 0
#   PyAV 17.0.0: colorspace 1, red green blue 204 44 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/colours.py" <<'PYTHON'
import sys

import av
import numpy as np

path = sys.argv[1]
with av.open(path, "w") as container:
    stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace = 1
    planes = np.full((96, 64), 81, np.uint8)
    planes[64:80], planes[80:] = 90, 200
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.colorspace = 1
    for packet in (*stream.encode(frame), *stream.encode()):
        container.mux(packet)
with av.open(path) as container:
    frame = next(container.decode(video=0))
    red, green, blue = frame.to_ndarray(format="rgb24")[32, 32]
    print(f"PyAV {av.__version__}: colorspace {int(frame.colorspace)}, red green blue {red} {green} {blue}")
PYTHON

for version in 16.1.0 17.0.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "av==$version" numpy==2.4.6 2> /dev/null
  "$folder/$version/bin/python" "$folder/colours.py" "$folder/$version.mp4" 2> /dev/null
done | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
PyAV 16.1.0: colorspace 1, red green blue 189 30 0
PyAV 17.0.0: colorspace 1, red green blue 204 44 0
SEEN
echo "as described"
