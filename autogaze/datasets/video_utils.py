"""Reading and sampling frames, under the names and with the results of the released package."""

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autogaze.datasets.geometry import Frames, check_frames
from autogaze.datasets.timeline import find_timeline, read_frames
from autogaze.errors import InputError


def get_relative_video_path(path: str | os.PathLike[str]) -> str:
    """Return the last three parts of ``path``, by which label files name their videos."""
    return "/".join(PurePath(path).parts[-3:])


def read_video_pyav(container: Any, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Frames:
    """Read frames of an open PyAV container.

    Decoding begins at the key frame before the first index wherever frames can be numbered without decoding
    (:mod:`autogaze.datasets.timeline`), and at the start of the file elsewhere; the frames are the same.

    Args:
        container: an open ``av`` input container; it may have been read before, and is left at another place.
        indices: ascending frame numbers from 0. A repeated number gives one frame, one past the end none.

    Returns:
        (n, H, W, 3) uint8 RGB.
    """
    numbers = np.asarray(indices)
    if numbers.ndim != 1 or not len(numbers) or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(
            f"frame indices {indices} are not frame numbers: a non-empty list of integers is needed"
        )
    if numbers[0] < 0 or (np.diff(numbers) < 0).any():
        raise InputError(f"frame indices {numbers.tolist()} must be at least 0 and in ascending order")
    timeline = find_timeline(container) if numbers[0] > 0 else None
    return read_frames(container, np.unique(numbers).tolist(), timeline)


def sample_frame_indices(
    clip_len: int, frame_sample_rate: float, seg_len: int, random_sample_frame: bool = False
) -> npt.NDArray[np.int64]:
    """Choose ``clip_len`` frame numbers, one in ``frame_sample_rate``, of a video of ``seg_len`` frames.

    A video too short for that rate gives its first frames one by one, the last number repeated to make up for
    what is missing. With ``random_sample_frame`` the clip begins anywhere but at the last start at which it
    fits (drawn from numpy's global generator, both as in the released function), else at frame 0.
    """
    if clip_len < 1 or seg_len < 1 or frame_sample_rate <= 0:
        raise InputError(
            f"clip length {clip_len}, frame sample rate {frame_sample_rate} and video length {seg_len} "
            "must be positive"
        )
    span = int(clip_len * frame_sample_rate)
    if seg_len <= span:
        indices = np.arange(min(clip_len, seg_len), dtype=np.int64)
        return np.pad(indices, (0, clip_len - len(indices)), mode="edge")
    end = int(np.random.randint(span, seg_len)) if random_sample_frame else span
    start = end - span
    return np.clip(np.linspace(start, end, num=clip_len), start, end - 1).astype(np.int64)


def process_video_frames(video: npt.NDArray[Any], clip_len: int) -> npt.NDArray[Any]:
    """Cut ``video`` (T, ...) to ``clip_len`` frames, or repeat its last frame until it has as many."""
    if not len(video):
        raise InputError("video has no frames: at least one is needed to make a clip")
    if clip_len < 1:
        raise InputError(f"clip length {clip_len} must be at least 1 frame")
    if len(video) >= clip_len:
        return video[:clip_len]
    return np.concatenate([video, np.repeat(video[-1:], clip_len - len(video), axis=0)])


def transform_video_for_pytorch(video: Frames, transform: Any = None) -> Tensor:
    """Process the frames of one video and return them as a tensor.

    Args:
        video: (T, H, W, 3) uint8.
        transform: an image processor, ours or one of transformers'; None only moves the channels.

    Returns:
        (T, 3, H', W'), float32 after a transform and uint8 without.
    """
    video = check_frames(video)
    if transform is None:
        return torch.from_numpy(video.transpose(0, 3, 1, 2).copy())
    pixels: Tensor = transform(list(video), return_tensors="pt")["pixel_values"]
    return pixels.flatten(0, -4)
