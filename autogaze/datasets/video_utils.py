"""Reading and sampling frames, under the names and with the results of the released package."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autogaze.datasets.labels import get_relative_video_path
from autogaze.datasets.video_folder import sample_frame_indices
from autogaze.errors import InputError
from autogaze.video.bitstreams import NotNumbered
from autogaze.video.container import Decoding, Reopen, decode, reopen_container, video_stream
from autogaze.video.frame_source import process_video_frames
from autogaze.video.preprocessing import Frames, check_frames
from autogaze.video.reading import read_frames
from autogaze.video.timeline import Timeline, find_timeline, read_index

__all__ = [
    "get_relative_video_path",
    "process_video_frames",
    "read_video_pyav",
    "sample_frame_indices",
    "transform_video_for_pytorch",
]


def read_video_pyav(
    container: Any, indices: Sequence[int] | npt.NDArray[np.integer[Any]], turned: bool = True
) -> Frames:
    """Read frames of the file of an open PyAV container, which is left as it is.

    The file is opened anew. Decoding begins at the key frame before the first index wherever frames can be
    numbered without decoding (:mod:`autogaze.video.timeline`), and at the start elsewhere; the frames are the
    same.

    Args:
        container: an open ``av`` input container, at any place.
        indices: ascending frame numbers from 0. A repeated number gives one frame, one past the end none.
        turned: whether frames are turned as the file says they are to be shown; the released function gives
            them as they are stored.

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
    reopen = reopen_container(container)
    timeline = _timeline(reopen) if numbers[0] > 0 else None
    return read_frames(reopen, np.unique(numbers).tolist(), timeline, turned)


def _timeline(reopen: Reopen) -> Timeline | None:
    with reopen(Decoding.DEFINED) as container:
        stream = video_stream(container)
        first = next(decode(container, stream), None)
        if first is None:
            return None
        try:
            return find_timeline(container, read_index(stream), first.pts, reopen)
        except NotNumbered:
            return None


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
