"""Frames as callers hand them in: arrays, tensors, pictures and lists of them, channels first or last."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from autogaze.errors import InputError, unknown_name
from autogaze.video.preprocessing import Frames, check_frames

CHANNELS_FIRST, CHANNELS_LAST = "channels_first", "channels_last"
_CHANNELS = 3


def as_batch(videos: Any, layout: Any = None) -> list[Frames]:
    """Sort out a frame, a video and a batch by their number of dimensions; return one (T, H, W, 3) uint8
    array a video.

    ``layout`` is where the channels of a frame are, in transformers' words; None looks which side is 3 long,
    the first one first.

    Raises:
        InputError: for what is no video.
    """
    return [_channels_last(frames, layout) for frames in _split(videos)]


def as_word(value: Any) -> str:
    """Return the word of an option that may be one of transformers' enumerations."""
    return str(getattr(value, "value", value))


def _split(videos: Any) -> list[npt.NDArray[Any]]:
    if isinstance(videos, Image.Image):
        return [_as_frame(videos)[None]]
    if isinstance(videos, np.ndarray | Tensor):
        array = np.asarray(videos)
        if array.ndim == 5:
            return list(array)
        return [array if array.ndim == 4 else array[None]]
    if not isinstance(videos, list | tuple) or not videos:
        found = "an empty list" if isinstance(videos, list | tuple) else f"a {type(videos).__name__}"
        raise InputError(
            f"video is {found}: an array (frames, height, width, 3) or a list of frames is needed"
        )
    if isinstance(videos[0], list | tuple) or getattr(videos[0], "ndim", 3) == 4:
        return [_split(video)[0] for video in videos]
    frames = [_as_frame(frame) for frame in videos]
    if shapes := {frame.shape for frame in frames} - {frames[0].shape}:
        raise InputError(
            f"frames of one video have shapes {frames[0].shape} and {min(shapes)}: resize them to one "
            "size first"
        )
    return [np.stack(frames)]


def _as_frame(frame: Any) -> npt.NDArray[Any]:
    return np.asarray(frame.convert("RGB") if isinstance(frame, Image.Image) else frame)


def _channels_last(frames: npt.NDArray[Any], layout: Any) -> Frames:
    """Bring (T, 3, H, W) or (T, H, W, 3) to the latter, and whole numbers from 0 to 255 of any type to
    uint8."""
    if layout is not None and as_word(layout) not in (CHANNELS_FIRST, CHANNELS_LAST):
        raise unknown_name("input_data_format", as_word(layout), (CHANNELS_FIRST, CHANNELS_LAST))
    first = frames.ndim == 4 and frames.shape[1] == _CHANNELS
    if first if layout is None else as_word(layout) == CHANNELS_FIRST:
        frames = frames.transpose(0, 2, 3, 1)
    if frames.dtype != np.uint8 and np.issubdtype(frames.dtype, np.number) and frames.size:
        in_range = frames.min() >= 0 and frames.max() <= np.iinfo(np.uint8).max
        if in_range and (frames == np.floor(frames)).all() and frames.max() > 1:
            frames = frames.astype(np.uint8)
    return check_frames(frames)
