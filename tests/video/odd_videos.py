"""Short videos of every kind PyAV can write, drawn from a seed: containers, codecs, options, and mishaps."""

import random
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.video.videos import picture

av = pytest.importorskip("av")

CODECS = {
    "mp4": ("libx264", "libx264", "libx265", "mpeg4", "mpeg2video", "mjpeg", "libvpx-vp9", "libsvtav1"),
    "mov": ("libx264", "libx265", "mpeg4", "mjpeg", "prores", "qtrle", "png", "rawvideo"),
    "mkv": (
        "libx264",
        "libx265",
        "mpeg4",
        "mpeg2video",
        "libvpx",
        "libvpx-vp9",
        "libsvtav1",
        "mjpeg",
        "ffv1",
    ),
    "webm": ("libvpx", "libvpx-vp9", "libsvtav1"),
    "ts": ("libx264", "libx264", "libx265", "mpeg2video", "mpeg1video"),
    "mpg": ("mpeg2video", "mpeg1video"),
    "avi": ("libx264", "mpeg4", "mjpeg", "rawvideo", "ffv1", "huffyuv", "msmpeg4", "mpeg2video"),
    "flv": ("libx264", "flv"),
    "nut": ("libx264", "mpeg4", "ffv1", "rawvideo"),
    "mxf": ("mpeg2video",),
    "wmv": ("wmv2", "msmpeg4"),
    "ivf": ("libvpx", "libvpx-vp9", "libsvtav1"),
    "gif": ("gif",),
    "apng": ("apng",),
    "h264": ("libx264",),
    "hevc": ("libx265",),
}
"""Ending of a file to the encoders that may write it."""

PIXELS = {
    "rawvideo": ("pal8", "rgb24", "yuv420p"),
    "gif": ("pal8", "rgb8"),
    "apng": ("rgb24", "pal8"),
    "png": ("rgb24", "pal8"),
    "qtrle": ("rgb24",),
    "prores": ("yuv422p10le",),
    "mjpeg": ("yuvj420p",),
    "huffyuv": ("yuv422p", "rgb24"),
    "ffv1": ("yuv420p", "bgr0"),
}
MATRICES = (
    *((c, s, -s, c) for c, s in ((0, 1), (0, -1), (-1, 0))),
    *((1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, -1, -1, 0)),
)
"""Display matrices: a, b, c and d of every quarter turn, mirrored or not, that is not none."""


@dataclass
class OddVideo:
    """A file, and how it was made."""

    path: Path
    made: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.path.suffix[1:]}: {', '.join(self.made)}"


def odd_video(folder: Path, seed: int) -> OddVideo:
    """Write the video of a seed."""
    rng = random.Random(seed)
    suffix = rng.choice([*CODECS, "mp4", "mkv", "ts", "mp4", "mkv"])
    codec = rng.choice(CODECS[suffix])
    video = OddVideo(folder / f"{seed}.{suffix}")
    _encode(video, codec, rng)
    if rng.random() < 0.5:
        _mishap(video, rng)
    if suffix in ("mp4", "mov") and rng.random() < 0.3:
        matrix = rng.choice(MATRICES)
        set_display_matrix(video.path, matrix)
        video.made.append(f"shown by {matrix}")
    return video


def _encode(video: OddVideo, codec: str, rng: random.Random, size: int | None = None) -> None:
    suffix = video.path.suffix[1:]
    frames, gop, b_frames = rng.randint(2, 45), rng.choice((1, 3, 8, 12, 100)), rng.randint(0, 3)
    if codec not in ("libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video") or suffix == "wmv":
        b_frames = 0
    options = _options(codec, rng)
    pixels = rng.choice(PIXELS.get(codec, ("yuv420p",)))
    muxing = _muxing(suffix, rng)
    size = size or rng.choice((64, 64, 72))
    times = _times(frames, suffix, codec, rng)
    video.made.append(
        f"{codec} {pixels} {frames} frames of {size} gop {gop} b {b_frames} {options} {muxing} {times[:3]}"
    )
    with av.open(str(video.path), "w", options=muxing) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = pixels
        context = stream.codec_context
        context.thread_count = 1
        context.gop_size, context.max_b_frames = gop, b_frames
        context.time_base = Fraction(1, 25)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            if pixels == "pal8":
                frame = paletted(picture(number, size))
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def paletted(pixels: np.ndarray) -> Any:
    """Return a frame of a palette's colours: 3 bits of red and green, 2 of blue."""
    red, green, blue = (pixels[..., channel].astype(np.uint8) for channel in range(3))
    indices = (red >> 5 << 5) | (green >> 5 << 2) | (blue >> 6)
    colour = np.arange(256, dtype=np.uint32)
    palette = 255 << 24 | (colour >> 5) * 36 << 16 | (colour >> 2 & 7) * 36 << 8 | (colour & 3) * 85
    frame = av.VideoFrame(pixels.shape[1], pixels.shape[0], "pal8")
    for plane, content in zip(frame.planes, (indices, palette.astype(np.uint32)), strict=True):
        rows = content.tobytes()
        if plane.line_size != pixels.shape[1] and plane.buffer_size != len(rows):
            padded = np.zeros((pixels.shape[0], plane.line_size), np.uint8)
            padded[:, : pixels.shape[1]] = indices
            rows = padded.tobytes()
        plane.update(rows)
    return frame


def _options(codec: str, rng: random.Random) -> dict[str, str]:
    def maybe(**choices: tuple[str, ...]) -> dict[str, str]:
        return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.5}

    if codec == "libx264":
        parameters = maybe(
            **{"open-gop": ("1",), "b-pyramid": ("none", "strict", "normal"), "slices": ("3",)},
            **{"intra-refresh": ("1",), "tff": ("1",), "aud": ("1",), "scenecut": ("0",), "bframes": ("2",)},
            **{"repeat-headers": ("1",), "pic-struct": ("1",)},
        )
        joined = ":".join(f"{name}={value}" for name, value in parameters.items())
        return {"preset": rng.choice(("ultrafast", "veryfast")), "x264-params": joined}
    if codec == "libx265":
        parameters = maybe(
            **{"open-gop": ("0", "1"), "b-pyramid": ("0", "1"), "repeat-headers": ("1",), "aud": ("1",)},
            **{"temporal-layers": ("1",), "bframes": ("3",)},
        )
        if rng.random() < 0.2:
            parameters |= {"radl": "2", "bframes": "3", "open-gop": "0"}
        parameters |= {"log-level": "none", "pools": "none", "frame-threads": "1"}
        return {
            "preset": "ultrafast",
            "x265-params": ":".join(f"{name}={value}" for name, value in parameters.items()),
        }
    if codec in ("mpeg4", "mpeg2video"):
        flags = ("+ilme+ildct", "+cgop", "+qpel" if codec == "mpeg4" else "+ildct")
        return {"sc_threshold": "1000000000"} | maybe(flags=flags, bf=("2",))
    if codec in ("libvpx", "libvpx-vp9"):
        fast = {"deadline": "realtime", "cpu-used": "8"} if rng.random() < 0.5 else {"cpu-used": "5"}
        return fast | maybe(
            **{"auto-alt-ref": ("1",), "lag-in-frames": ("0", "16"), "error-resilient": ("1",)}
        )
    if codec == "libsvtav1":
        levels = rng.choice(("2", "3", "4"))
        return {
            "preset": "12",
            "svtav1-params": f"hierarchical-levels={levels}:lp=1:pred-struct={rng.choice('12')}",
        }
    return {"strict": "unofficial"} if codec == "mjpeg" else {}


def _muxing(suffix: str, rng: random.Random) -> dict[str, str]:
    if suffix in ("mp4", "mov"):
        flags = ("+faststart", "+frag_keyframe+empty_moov", "+negative_cts_offsets", "+frag_every_frame", "")
        chosen = {"movflags": flag} if (flag := rng.choice(flags)) else {}
        if rng.random() < 0.2:
            chosen["use_editlist"] = "0"
        return chosen
    if suffix in ("mkv", "webm", "ts", "nut") and rng.random() < 0.3:
        return {"avoid_negative_ts": rng.choice(("disabled", "make_zero", "make_non_negative"))}
    return {}


def _times(frames: int, suffix: str, codec: str, rng: random.Random) -> list[int]:
    start, steps = 0, [1] * frames
    if suffix in ("mp4", "mov", "mkv", "webm", "ts", "flv", "nut"):
        if rng.random() < 0.3:
            start = rng.choice((-20, -7, 5, 1000))
        if rng.random() < 0.3 and codec not in ("mpeg4", "mpeg2video", "mpeg1video"):
            steps = [rng.choice((1, 1, 1, 2, 7)) for _ in range(frames)]
    return [start + sum(steps[:number]) for number in range(frames)]


def _mishap(video: OddVideo, rng: random.Random) -> None:
    suffix = video.path.suffix[1:]
    kinds = [
        "head cut off",
        "packets lost",
        "overwritten",
        "overwritten",
        "bits flipped",
        "cut short",
        "shifted",
        "spliced",
    ]
    if suffix in ("ts", "mpg", "h264", "hevc"):
        kinds.append("glued")
    kind = rng.choice(kinds)
    video.made.append(kind)
    content = bytearray(video.path.read_bytes())
    if kind == "overwritten":
        length = rng.choice((3, 20, 150, 1000))
        place = rng.randrange(len(content) // 5, len(content))
        noise = rng.choice((bytes(length), rng.randbytes(length)))
        content[place : place + length] = noise[: len(content) - place]
        video.path.write_bytes(content)
    elif kind == "bits flipped":
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content) // 5, len(content))] ^= 1 << rng.randrange(8)
        video.path.write_bytes(content)
    elif kind == "cut short":
        video.path.write_bytes(content[: rng.randrange(len(content) // 3, len(content))])
    elif kind == "glued":
        video.path.write_bytes(content + content)
    elif kind == "spliced":
        other = OddVideo(video.path.with_name(f"other-{video.path.name}"))
        with av.open(str(video.path)) as container:
            stream = container.streams.video[0]
            codec, size = stream.codec_context.name, stream.width
        names = {
            "h264": "libx264",
            "hevc": "libx265",
            "vp8": "libvpx",
            "vp9": "libvpx-vp9",
            "libdav1d": "libsvtav1",
        }
        _encode(other, names.get(codec, "msmpeg4" if codec.startswith("msmpeg4") else codec), rng, size)
        video.made += other.made
        _remux(video.path, [video.path, other.path], lambda number, packet: True, 0)
    else:
        first = rng.randint(1, 20)
        lost = {rng.randint(1, 20) for _ in range(rng.randint(1, 3))}
        keep = {
            "head cut off": lambda number, packet: number >= first,
            "packets lost": lambda number, packet: number not in lost,
            "shifted": lambda number, packet: True,
        }[kind]
        shift = rng.choice((-1, 1)) * rng.randint(1, 60) if kind == "shifted" else 0
        video.made.append(f"{first} {lost} {shift}")
        _remux(video.path, [video.path], keep, shift)


def _remux(path: Path, sources: list[Path], keep: Any, shift: int) -> None:
    """Write the packets of sources one behind the other, those that are kept, shifted by 1/25 s each."""
    target = path.with_name(f"remuxed-{path.name}")
    options = {"avoid_negative_ts": "disabled"} if shift else {}
    try:
        with av.open(str(target), "w", options=options) as out:
            stream, end = None, 0
            for source in sources:
                with av.open(str(source)) as container:
                    template = container.streams.video[0]
                    if stream is None:
                        stream = out.add_stream_from_template(template)
                    offset, last = end, end
                    for number, packet in enumerate(container.demux(template)):
                        step = round(Fraction(1, 25) / (packet.time_base or template.time_base))
                        if packet.dts is None or not keep(number, packet):
                            continue
                        last = max(last, packet.dts + offset + step)
                        packet.dts += offset + shift * step
                        if packet.pts is not None:
                            packet.pts += offset + shift * step
                        packet.stream = stream
                        out.mux(packet)
                    end = last + 2 * step
    except (av.FFmpegError, ValueError):
        return
    if target.exists():
        target.replace(path)


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a, b, c and d of the display matrix into the track header of an MP4."""
    content = bytearray(path.read_bytes())
    header = content.find(b"tkhd")
    if header < 0:
        return
    a, b, c, d = (value << 16 for value in matrix)
    place = header + 44 + 12 * content[header + 4]
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
