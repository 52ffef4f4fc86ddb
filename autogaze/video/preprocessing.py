"""Preprocessing of decoded frames: one geometry and one pixel scale for all models.

The gaze model and the reconstructor must look at the same picture, so both are fed from :func:`fit_frames`
and :func:`normalize`. Frames are (T, H, W, 3) uint8 RGB until normalised, (T, 3, H, W) float32 after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from autogaze.errors import InputError, unknown_name

if TYPE_CHECKING:  # Who opens a video need not wait for torch.
    from torch import Tensor

Frames = npt.NDArray[np.uint8]
"""(T, H, W, 3) RGB."""

FitMode = Literal["square", "center_crop"]
"""How a picture that is not square becomes one: squashed whole, or cut to its middle."""


class PixelStatistics(Protocol):
    """What :func:`normalize` and :func:`unnormalize` must know; an image processor provides it too."""

    @property
    def do_rescale(self) -> bool: ...
    @property
    def rescale_factor(self) -> float: ...
    @property
    def offset(self) -> bool: ...
    @property
    def do_normalize(self) -> bool: ...
    @property
    def image_mean(self) -> Sequence[float]: ...
    @property
    def image_std(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class PixelScale:
    """``(x * rescale_factor - 1 - image_mean) / image_std``; ``offset`` is the -1.

    The defaults are those of the released checkpoints: ImageNet's mean and deviation, applied to pixels in
    [-1, 1].
    """

    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    rescale_factor: float = 1 / 127.5
    offset: bool = True
    do_rescale: bool = True
    do_normalize: bool = True


DEFAULT_PIXEL_SCALE = PixelScale()


def check_frames(frames: Any) -> Frames:
    """Return ``frames`` if it is a non-empty (T, H, W, 3) uint8 array; raise :class:`InputError` if not."""
    if not isinstance(frames, np.ndarray):
        raise InputError(
            f"frames are a {type(frames).__name__}: a uint8 array (frames, height, width, 3) is needed"
        )
    if frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise InputError(
            f"frames have shape {frames.shape}: a non-empty (frames, height, width, 3) in RGB is needed"
        )
    if frames.dtype != np.uint8:
        raise InputError(f"frames hold {frames.dtype} values: uint8 from 0 to 255 is needed")
    return frames


def fit_frames(frames: Frames, size: int, mode: FitMode = "square") -> Frames:
    """Bring frames to the square picture that all models see.

    Args:
        frames: (T, H, W, 3) uint8.
        size: side of the result in pixels.
        mode: ``square`` resizes both sides and keeps all of the picture; ``center_crop`` resizes the shorter
            side and cuts off what sticks out of the longer one, evenly. Square frames come out the same
            either way.

    Returns:
        (T, size, size, 3) uint8.
    """
    frames = check_frames(frames)
    if size < 1:
        raise InputError(f"frame size {size} must be at least 1 pixel")
    if mode == "square":
        return resize_frames(frames, size, size)
    if mode == "center_crop":
        return center_crop(resize_frames(frames, *shortest_edge_size(frames, size)), size, size)
    raise unknown_name("fit mode", mode, get_args(FitMode))


def shortest_edge_size(frames: Frames, size: int) -> tuple[int, int]:
    """Return the (height, width) that makes the shorter side ``size`` pixels; the other is rounded down."""
    height, width = frames.shape[1:3]
    if width <= height:
        return size * height // width, size
    return size, size * width // height


def resize_frames(
    frames: Frames, height: int, width: int, resample: int = Image.Resampling.BILINEAR
) -> Frames:
    """Resize every frame with Pillow, whose filters average over all source pixels when they shrink."""
    if frames.shape[1:3] == (height, width):
        return frames
    resized = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, target in zip(frames, resized, strict=True):
        target[...] = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling(resample)))
    return resized


def center_crop(frames: Frames, height: int, width: int) -> Frames:
    """Cut out the middle (T, height, width, 3); where that leaves an odd pixel, it goes right or below."""
    found_height, found_width = frames.shape[1:3]
    if height > found_height or width > found_width:
        raise InputError(
            f"frames of {found_height} x {found_width} pixels are too small for a crop of "
            f"{height} x {width}: resize them to a larger size first, or crop less"
        )
    top, left = (found_height - height) // 2, (found_width - width) // 2
    return frames[:, top : top + height, left : left + width]


def normalize(frames: Frames, statistics: PixelStatistics = DEFAULT_PIXEL_SCALE) -> npt.NDArray[np.float32]:
    """Bring uint8 frames (T, H, W, 3) to the models' pixel scale: (T, 3, H, W) float32."""
    levels = _levels(statistics)
    frames = check_frames(frames)
    count, height, width, _ = frames.shape
    normalized = np.empty((count, 3, height, width), np.float32)
    for frame, target in zip(frames, normalized, strict=True):
        for channel in range(3):
            # A uint8 is always a valid index: "clip" only spares numpy the check and a buffer.
            np.take(levels[channel], frame[..., channel], out=target[channel], mode="clip")
    return normalized


def unnormalize(video: "Tensor", statistics: PixelStatistics = DEFAULT_PIXEL_SCALE) -> "Tensor":
    """Undo :func:`normalize` up to the uint8 range: (..., 3, H, W) to pixels in [0, 1], clamped."""
    if video.ndim < 3 or video.shape[-3] != 3:
        raise InputError(f"video has shape {tuple(video.shape)}: (..., 3, height, width) is needed")
    pixels = video.float()
    if statistics.do_normalize:
        mean, std = (pixels.new_tensor(value).view(3, 1, 1) for value in _mean_and_std(statistics))
        pixels = pixels * std + mean
    if statistics.do_rescale:
        pixels = (pixels + float(statistics.offset)) / statistics.rescale_factor
    return (pixels / 255).clamp(0, 1)


def _levels(statistics: PixelStatistics) -> npt.NDArray[np.float32]:
    """Return (3, 256) float32: what becomes of each of the 256 pixel values in each channel.

    Rounding follows transformers, step by step: the product in double precision, the rest in single.
    """
    levels = np.arange(256, dtype=np.float64)
    if statistics.do_rescale:
        levels = levels * statistics.rescale_factor
    values = np.tile(levels.astype(np.float32), (3, 1))
    if statistics.do_rescale and statistics.offset:
        values -= np.float32(1)
    if statistics.do_normalize:
        mean, std = (np.array(value, np.float32)[:, None] for value in _mean_and_std(statistics))
        values = (values - mean) / std
    return values


def _mean_and_std(statistics: PixelStatistics) -> tuple[Sequence[float], Sequence[float]]:
    for name, values in (("image_mean", statistics.image_mean), ("image_std", statistics.image_std)):
        if len(values) != 3:
            raise InputError(
                f"{name} has {len(values)} values: one for each of red, green and blue is needed"
            )
    if 0 in statistics.image_std:
        raise InputError(
            f"image_std {list(statistics.image_std)} holds a zero: positive deviations are needed"
        )
    return statistics.image_mean, statistics.image_std
