"""Reading and sampling frames, under the names and with the results of the released package."""

import inspect
from collections.abc import Callable, Mapping, Sequence
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


def transform_video_for_pytorch(
    video: Frames | Sequence[Any], transform: Callable[..., Any] | None = None
) -> Tensor:
    """Process the frames of one video and return them as a tensor.

    Args:
        video: (T, H, W, 3) or (T, 3, H, W), or a list of frames.
        transform: an image processor, ours or one of transformers'; or anything that takes a list of frames
            and returns what has ``pixel_values``: frames, or a list of one video's frames. None only moves
            the channels.

    Returns:
        (T, 3, H', W'), of the type that ``transform`` gives; without it, as given.

    Raises:
        InputError: if what comes out is no video.
    """
    if transform is None:
        frames = np.stack([np.asarray(frame) for frame in video])
        if frames.ndim == 4 and frames.shape[1] == 3 and frames.shape[3] != 3:
            frames = frames.transpose(0, 2, 3, 1)
        return torch.from_numpy(check_frames(frames)).permute(0, 3, 1, 2).contiguous()
    takes = inspect.signature(transform).parameters.values()
    tensors = any(each.name == "return_tensors" or each.kind is each.VAR_KEYWORD for each in takes)
    output: Any = transform(list(video), **({"return_tensors": "pt"} if tensors else {}))
    made = output["pixel_values"] if isinstance(output, Mapping) else output.pixel_values
    if not isinstance(made, Tensor):
        # A video is a list of frames; some processors put that into a list of one.
        made = made[0] if isinstance(made[0], list | tuple) else made
        made = torch.stack([torch.as_tensor(frame) for frame in made])
    made = made.flatten(0, -4) if made.dim() > 4 else made
    if made.dim() == 4 and made.shape[1] != 3 and made.shape[-1] == 3:
        made = made.permute(0, 3, 1, 2).contiguous()
    if made.dim() != 4 or made.shape[1] != 3:
        raise InputError(
            f"the transform made pixel_values of shape {list(made.shape)} for a video; "
            "(frames, 3, height, width) is wanted"
        )
    return made
