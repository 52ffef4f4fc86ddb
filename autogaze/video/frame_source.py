"""Sources of frames: anything whose frames can be read by number.

:func:`autogaze.video.video_file.open_source` picks the right one for a path. None holds a file open.
"""

import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from autogaze.errors import InputError
from autogaze.video.preprocessing import Frames, check_frames

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
ARRAY_SUFFIXES = (".npy", ".npz")


class Clip(NamedTuple):
    """Consecutive frames."""

    frames: Frames
    """(count, H, W, 3) uint8."""
    repeated: int
    """How many frames at the end only repeat the last one, because the source ends before the clip."""


class FrameSource(Protocol):
    """A video in whatever form.

    ``height`` and ``width`` are those of the first frame, as it is to be shown. The frames of a clip are of
    one size, which in some streams is not that of the first.
    """

    @property
    def path(self) -> Path: ...
    @property
    def frames(self) -> int:
        """Number of frames."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def fps(self) -> float | None:
        """Frames per second; None where the source does not say."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever measures should know of how this source is read, a sentence each."""

    def read(self, start: int, count: int) -> Clip:
        """Return ``count`` frames from ``start`` on, the last frame repeated past the end.

        Raises:
            InputError: if there is no frame ``start``, or ``count`` is less than 1.
        """

    def frames_at(self, numbers: Sequence[int]) -> Frames:
        """Return the frames with the given numbers, (n, H, W, 3) uint8; frames between them are not kept.

        ``numbers`` ascend, none twice, and all of them exist.
        """


def frames_available(source: FrameSource, start: int, count: int) -> range:
    """Return the numbers of the frames that exist in a clip; refuse a clip in which none does."""
    if count < 1:
        raise InputError(f"clip length {count} must be at least 1 frame")
    if not 0 <= start < source.frames:
        raise InputError(
            f"clip start {start} lies outside '{source.path}', which has {source.frames} frames: "
            f"starts from 0 to {source.frames - 1} would do"
        )
    return range(start, min(start + count, source.frames))


def clip_of(frames: Frames, count: int) -> Clip:
    """Return the clip of ``count`` frames that begins with ``frames``."""
    return Clip(process_video_frames(frames, count), count - len(frames))


@dataclass(frozen=True)
class ImageFolder:
    """A folder of PNG or JPEG pictures of one size, one a frame, in the order of their names.

    Pictures are turned as their EXIF orientation says.
    """

    path: Path
    height: int
    width: int
    files: tuple[Path, ...] = field(repr=False)
    fps: float | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path) -> "ImageFolder":
        """List the pictures of a folder; numbers in names count as numbers, so 2.png comes before 10.png.

        Numbers may have fractions: 1.25.png comes before 1.5.png (:func:`in_order_of_numbers`).
        """
        files = in_order_of_numbers(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise InputError(
                f"folder '{path}' holds no pictures: one {' or '.join(IMAGE_SUFFIXES)} file a frame is needed"
            )
        height, width = _read_image(files[0]).shape[:2]
        return cls(path, height, width, tuple(files))

    @property
    def frames(self) -> int:
        return len(self.files)

    def read(self, start: int, count: int) -> Clip:
        """See :meth:`FrameSource.read`."""
        return clip_of(self.frames_at(frames_available(self, start, count)), count)

    def frames_at(self, numbers: Sequence[int]) -> Frames:
        """See :meth:`FrameSource.frames_at`."""
        frames = np.empty((len(numbers), self.height, self.width, 3), np.uint8)
        for target, number in zip(frames, numbers, strict=True):
            picture = _read_image(self.files[number])
            if picture.shape != target.shape:
                raise InputError(
                    f"'{self.files[number]}' has {picture.shape[0]} x {picture.shape[1]} pixels and the "
                    f"first picture of its folder {self.height} x {self.width}: make them all one size"
                )
            target[...] = picture
        return frames


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """A ``.npy`` file of (T, H, W, 3) uint8, or a ``.npz`` with one such array."""

    path: Path
    array: Frames = field(repr=False)
    fps: float | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path) -> "ArrayFile":
        """Map a ``.npy`` file, so that only what is used is read, or load a ``.npz``."""
        try:
            arrays = _load_arrays(path)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(
                f"'{path}' is not an array file numpy can read ({error}): save one with numpy.save or "
                "numpy.savez"
            ) from None
        if len(arrays) != 1:
            raise InputError(
                f"'{path}' holds {len(arrays)} arrays: exactly one (frames, height, width, 3) is needed"
            )
        try:
            return cls(path, check_frames(arrays[0]))
        except InputError as error:
            raise InputError(f"'{path}': {error}") from None

    @property
    def frames(self) -> int:
        return len(self.array)

    @property
    def height(self) -> int:
        return int(self.array.shape[1])

    @property
    def width(self) -> int:
        return int(self.array.shape[2])

    def read(self, start: int, count: int) -> Clip:
        """See :meth:`FrameSource.read`."""
        return clip_of(self.frames_at(frames_available(self, start, count)), count)

    def frames_at(self, numbers: Sequence[int]) -> Frames:
        """See :meth:`FrameSource.frames_at`."""
        return self.array[list(numbers)]


def _load_arrays(path: Path) -> list[npt.NDArray[Any]]:
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return [loaded]
    with loaded:
        return [loaded[name] for name in loaded.files]


_DECIMAL = r"(?<![\d.])\d+\.\d+(?!\.?\d)"
"""A number with a point, outside of chains of more than two."""


def in_order_of_numbers(files: Iterable[Path]) -> list[Path]:
    """Sort files by their names, numbers in them by their values.

    What is behind a point is a fraction, unless the names among them show that it counts: fractions are
    written with as many digits each, or without zeros at their end, and 1.9, 1.10, 1.11 are neither. Points
    in chains of more than two numbers, as in dates and versions, never begin a fraction.
    """
    files = list(files)
    fractions = [number.partition(".")[2] for file in files for number in re.findall(_DECIMAL, file.stem)]
    counts = len({len(fraction) for fraction in fractions}) > 1 and any(
        len(fraction) > 1 and fraction.endswith("0") for fraction in fractions
    )
    number = re.compile(r"(\d+)" if counts else rf"({_DECIMAL}|\d+)")
    return sorted(
        files, key=lambda file: ([*map(_by_value, number.split(file.stem), cycle((0, 1)))], file.name)
    )


def _by_value(part: str, is_number: int) -> tuple[int, str]:
    """Return what a part of a name is sorted by: a text by itself, a number by its value."""
    if not is_number:
        return 0, part
    whole, _, fraction = part.partition(".")
    return int(whole), fraction.rstrip("0")


def _read_image(file: Path) -> Frames:
    try:
        with Image.open(file) as stored:
            if stored.mode in ("I", "F"):
                raise InputError(
                    f"'{file}' has pixels of 32 bits, whose range it does not tell: save it with 8 or 16 bits"
                )
            image = ImageOps.exif_transpose(stored)
            if image.mode.startswith("I;16"):
                # Pillow would not scale these values but take all above 255 for white.
                grey = np.rint(np.asarray(image) / 257).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=-1)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"'{file}' cannot be read as a picture ({error}): replace or remove it") from None


def process_video_frames(video: npt.NDArray[Any], clip_len: int) -> npt.NDArray[Any]:
    """Cut ``video`` (T, ...) to ``clip_len`` frames, or repeat its last frame until it has as many."""
    if not len(video):
        raise InputError("video has no frames: at least one is needed to make a clip")
    if clip_len < 1:
        raise InputError(f"clip length {clip_len} must be at least 1 frame")
    if len(video) >= clip_len:
        return video[:clip_len]
    return np.concatenate([video, np.repeat(video[-1:], clip_len - len(video), axis=0)])
