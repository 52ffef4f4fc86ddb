"""Small videos, made on the spot, in which every frame differs from every other."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autogaze.stages import observed_by

av = pytest.importorskip("av")

INPUTS = Path(__file__).parent / "inputs"
"""Files as the world makes them, which PyAV cannot write."""

MILLISECONDS = Fraction(1, 1000)


@cache
def _texture(size: int) -> np.ndarray:
    texture = np.random.RandomState(5).randint(60, 190, (40, 40, 3), np.uint8)
    return np.asarray(Image.fromarray(texture).resize((4 * size, 4 * size)))


def picture(number: int, size: int = 64) -> np.ndarray:
    """Return frame ``number``: a moving texture with the number written in black and white squares."""
    frame = _texture(size)[number % (3 * size) :, (2 * number) % (3 * size) :][:size, :size].copy()
    for bit in range(12):
        frame[:8, bit * 5 : bit * 5 + 5] = 255 * (number >> bit & 1)
    return frame


def written_number(frame: np.ndarray) -> int:
    """Return the number written into a frame, which survives encoding."""
    return sum(1 << bit for bit in range(12) if frame[1:7, bit * 5 + 1 : bit * 5 + 4].mean() > 128)


def write_video(
    path: Path,
    frames: int,
    codec: str = "libx264",
    gop: int = 50,
    b_frames: int = 0,
    timestamps: list[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    size: int = 64,
) -> Path:
    """Encode ``frames`` frames at 25 a second, or shown at ``timestamps`` (milliseconds)."""
    preset = {"preset": "ultrafast", "bf": str(b_frames)} if codec == "libx264" else {}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=25, options=preset | (options or {}))
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        time_base = MILLISECONDS if timestamps else Fraction(1, 25)
        stream.codec_context.time_base = time_base
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = (timestamps[number] if timestamps else number), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decode_all(path: Path) -> np.ndarray:
    """Return every frame, decoded from the start by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


class Work:
    """What an observer hears of the frames that are decoded."""

    decoded = 0

    def stage(self, name: str) -> Any:
        return nullcontext()

    def count(self, name: str, amount: int) -> None:
        assert name == "decoded_frames"
        self.decoded += amount


@contextmanager
def counted() -> Iterator[Work]:
    """Count the frames decoded meanwhile."""
    work = Work()
    with observed_by(work):
        yield work
