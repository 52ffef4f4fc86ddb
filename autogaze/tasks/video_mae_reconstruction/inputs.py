"""Inputs of a reconstructor, checked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autogaze.errors import InputError
from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig


def check_video(video: Tensor, config: VideoMAEConfig, name: str) -> None:
    """Refuse anything but a normalised video, (B, T, C, H, W), that a reconstructor has embeddings for;
    ``name`` is what the refusal calls it."""
    needed = (config.num_channels, config.image_size, config.image_size)
    if (
        video.dim() != 5
        or tuple(video.shape[2:]) != needed
        or 0 in video.shape
        or not video.is_floating_point()
    ):
        raise InputError(
            f"{name} of shape {tuple(video.shape)} and type {video.dtype} must be a non-empty, "
            f"normalised float video of shape (batch, frames, {', '.join(map(str, needed))})"
        )
    if config.time_embed and video.shape[1] > config.max_num_frames:
        raise InputError(
            f"a clip of {video.shape[1]} frames is longer than the {config.max_num_frames} the "
            "reconstructor has time embeddings for; cut it into shorter clips"
        )


def frame_indices(frames: Tensor | Sequence[int] | None, count: int) -> list[int]:
    """Return which of ``count`` frames are to be reconstructed, in the order asked for; None means all."""
    if frames is None:
        return list(range(count))
    indices = [int(frame) for frame in torch.as_tensor(frames).tolist()]
    if not indices or min(indices) < 0 or max(indices) >= count:
        raise InputError(f"frames to reconstruct {indices} must be one or more of 0 to {count - 1}")
    return indices


def frames_of(video: Tensor, frames: list[int]) -> Tensor:
    """Return (B, len(frames), C, H, W) of a (B, T, C, H, W) video, without a copy where it is all of it."""
    return video if frames == list(range(video.shape[1])) else video[:, frames]
