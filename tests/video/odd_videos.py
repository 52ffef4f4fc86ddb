"""Short videos of every kind PyAV can write, drawn from a seed: containers, codecs, options, and mishaps."""

import random
import struct
from collections.abc import Callable
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

WITH_B_FRAMES = {"libx264", "libx265", "mpeg4", "mpeg2video", "mpeg1video"}
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
    encoder: str
    made: list[str] = field(default_factory=list)
    is_damaged: bool = False
    intact: set[int] = field(default_factory=set)
    """Hashes of all pictures, as they were before a mishap."""
    spliced_at: int | None = None
    """Number of frames behind which those of another video follow, which may need other parameters."""

    def __str__(self) -> str:
        return f"{self.path.suffix[1:]}: {', '.join(self.made)}"


def odd_video(folder: Path, seed: int) -> OddVideo | None:
    """Write the video of a seed; None where an encoder or a format does not do what was drawn."""
    try:
        return _odd_video(folder, seed)
    except (av.ArgumentError, av.PatchWelcomeError):
        return None


def _odd_video(folder: Path, seed: int) -> OddVideo:
    rng = random.Random(seed)
    suffix = rng.choice([*CODECS, "mp4", "mkv", "ts", "mp4", "mkv"])
    codec = rng.choice(CODECS[suffix])
    video = OddVideo(folder / f"{seed}.{suffix}", codec)
    _encode(video, rng)
    if rng.random() < 0.5:
        video.intact |= _pictures(video.path)
        _mishap(video, rng)
    if suffix in ("mp4", "mov") and rng.random() < 0.3:
        matrix = rng.choice(MATRICES)
        set_display_matrix(video.path, matrix)
        video.made.append(f"shown by {matrix}")
    return video


def _encode(video: OddVideo, rng: random.Random, size: int | None = None) -> None:
    codec, suffix = video.encoder, video.path.suffix[1:]
    frames, gop, b_frames = rng.randint(2, 45), rng.choice((1, 3, 8, 12, 100)), rng.randint(0, 3)
    if codec not in WITH_B_FRAMES:
        b_frames = 0
    if codec == "libx265":
        frames = max(frames, 8)  # with fewer, some of its options crash it
    options, pixels = _options(codec, rng), rng.choice(PIXELS.get(codec, ("yuv420p",)))
    muxing, size = _muxing(suffix, rng), size or rng.choice((64, 64, 72))
    times = _times(frames, suffix, codec, rng)
    video.made.append(
        f"{codec} {pixels} {frames} frames of {size}, gop {gop}, b {b_frames}, {options} {muxing} {times}"
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


def _pictures(path: Path) -> set[int]:
    with av.open(str(path)) as container:
        return {hash(frame.to_ndarray(format="rgb24").tobytes()) for frame in container.decode(video=0)}


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
    kinds = [*MISHAPS, "overwritten", *(("glued",) if video.path.suffix[1:] in GLUED else ())]
    kind = rng.choice(kinds)
    video.made.append(kind)
    video.is_damaged = kind != "shifted"
    MISHAPS.get(kind, _glue)(video, rng)


def _overwrite(video: OddVideo, rng: random.Random) -> None:
    content = bytearray(video.path.read_bytes())
    length = rng.choice((3, 20, 150, 1000))
    place = rng.randrange(len(content) // 5, len(content))
    noise = rng.choice((bytes(length), rng.randbytes(length)))
    content[place : place + length] = noise[: len(content) - place]
    video.path.write_bytes(content)


def _flip_bits(video: OddVideo, rng: random.Random) -> None:
    content = bytearray(video.path.read_bytes())
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content) // 5, len(content))] ^= 1 << rng.randrange(8)
    video.path.write_bytes(content)


def _cut_short(video: OddVideo, rng: random.Random) -> None:
    content = video.path.read_bytes()
    video.path.write_bytes(content[: rng.randrange(len(content) // 3, len(content))])


def _glue(video: OddVideo, rng: random.Random) -> None:
    video.path.write_bytes(2 * video.path.read_bytes())


def _splice(video: OddVideo, rng: random.Random) -> None:
    other = OddVideo(video.path.with_name(f"other-{video.path.name}"), video.encoder)
    with av.open(str(video.path)) as container:
        size = container.streams.video[0].width
        video.spliced_at = sum(1 for _ in container.decode(video=0))
    _encode(other, rng, size)
    video.made += other.made
    _remux(video.path, [video.path, other.path])


def _cut_head(video: OddVideo, rng: random.Random) -> None:
    first = rng.randint(1, 20)
    _remux(video.path, [video.path], lambda number: number >= first)


def _lose_packets(video: OddVideo, rng: random.Random) -> None:
    lost = {rng.randint(1, 20) for _ in range(rng.randint(1, 3))}
    _remux(video.path, [video.path], lambda number: number not in lost)


def _shift(video: OddVideo, rng: random.Random) -> None:
    _remux(video.path, [video.path], shift=rng.choice((-1, 1)) * rng.randint(1, 60))


GLUED = {"ts", "mpg", "h264", "hevc"}
"""Endings of files that may be laid end to end."""

MISHAPS: dict[str, Callable[[OddVideo, random.Random], None]] = {
    "overwritten": _overwrite,
    "bits flipped": _flip_bits,
    "cut short": _cut_short,
    "head cut off": _cut_head,
    "packets lost": _lose_packets,
    "shifted": _shift,
    "spliced": _splice,
}


def _every_packet(number: int) -> bool:
    return True


def _remux(
    path: Path, sources: list[Path], keep: Callable[[int], bool] = _every_packet, shift: int = 0
) -> None:
    """Write the packets of sources one behind the other, those that are kept, shifted by 1/25 s each."""
    target = path.with_name(f"remuxed-{path.name}")
    try:
        _write_packets(target, sources, keep, shift)
    except (av.FFmpegError, ValueError):
        return  # some formats do not take every packet
    if target.exists():
        target.replace(path)


def _write_packets(target: Path, sources: list[Path], keep: Callable[[int], bool], shift: int) -> None:
    with av.open(str(target), "w", options={"avoid_negative_ts": "disabled"} if shift else {}) as out:
        stream, end = None, 0
        for source in sources:
            with av.open(str(source)) as container:
                template = container.streams.video[0]
                stream = stream or out.add_stream_from_template(template)
                offset, step = end, 0
                for number, packet in enumerate(container.demux(template)):
                    if packet.dts is None or not keep(number):
                        continue
                    step = round(Fraction(1, 25) / (packet.time_base or template.time_base))
                    end = max(end, packet.dts + offset + step)
                    packet.dts += offset + shift * step
                    if packet.pts is not None:
                        packet.pts += offset + shift * step
                    packet.stream = stream
                    out.mux(packet)
                end += 2 * step


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
