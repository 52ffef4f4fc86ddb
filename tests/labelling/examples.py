"""A reconstructor of small pictures with few patches, and clips for it."""

from typing import Any

import torch
from torch import Tensor

from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from tests.tasks.video_mae_reconstruction.examples import reconstructor

PATCHES = 20
"""Of a frame of :func:`small_task`: 2 x 2 of 32 pixels and 4 x 4 of 64."""


def small_task(**config: Any) -> VideoMAEReconstruction:
    """A reconstructor of 64 x 64 pixels, two blocks deep: what the second remembers passed the first."""
    sizes = {"scales": "32+64", "image_size": 64, "num_hidden_layers": 2, "decoder_num_hidden_layers": 2}
    return reconstructor(**sizes | config)


def clips(count: int, frames: int, seed: int = 0, size: int = 64) -> Tensor:
    """Normalised noise, (count, frames, 3, size, size)."""
    return torch.randn(count, frames, 3, size, size, generator=torch.Generator().manual_seed(seed))


def plain_loss(task: VideoMAEReconstruction, clip: Tensor, gazes: list[list[int]]) -> float:
    """The loss of the last of ``gazes``' frames in a (T, 3, H, W) clip, by the whole model."""
    return float(plain_output(task, clip, gazes)["reconstruction_loss"])


def plain_output(task: VideoMAEReconstruction, clip: Tensor, gazes: list[list[int]]) -> dict[str, Any]:
    """What the whole model makes of the last of ``gazes``' frames."""
    per_frame = task.config.grid.patches_per_frame
    positions = [per_frame * t + patch for t, frame in enumerate(gazes) for patch in frame]
    gaze = {
        "gazing_pos": torch.tensor([positions], dtype=torch.int64),
        "if_padded_gazing": torch.zeros(1, len(positions), dtype=torch.bool),
        "num_gazing_each_frame": torch.tensor([len(frame) for frame in gazes]),
    }
    with torch.inference_mode():
        return task.forward_output(
            {"video_for_task": clip[None, : len(gazes)]}, gaze, frame_idx_to_reconstruct=[len(gazes) - 1]
        )
