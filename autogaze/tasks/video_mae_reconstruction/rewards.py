"""Rewards and losses of a reconstruction, gaze by gaze: what the released package trains a gaze model by."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def with_losses_of_gazes(output: Mapping[str, Any], gaze_outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a reconstruction's output with what it says of gazes, in the released keys.

    ``reconstruction_loss_each_gazing_token`` (B, N) holds a reconstructed frame's loss wherever the frame's
    next slot is padded, and at its last slot; ``reconstruction_loss_each_gazing_token_mask`` (B, N) is 1
    there. ``num_gazing_before_each_reconstruction_frame`` (F,) counts slots up to the frame's end,
    ``num_non_padded_gazing_at_each_reconstruction_frame`` (B, F) the real gazes in it.
    """
    padded, slots = gaze_outputs["if_padded_gazing"], gaze_outputs["num_gazing_each_frame"]
    losses: Tensor = output["reconstruction_loss_each_reconstruction_frame"]
    frames = output["frame_idx_to_reconstruct"].tolist()
    of_frame = padded.split(slots.tolist(), dim=1)
    mask = [torch.zeros_like(part, dtype=torch.float32) for part in of_frame]
    value = [torch.zeros_like(part, dtype=torch.float32) for part in of_frame]
    for number, frame in enumerate(frames):
        mask[frame] = F.pad(of_frame[frame][:, 1:], (0, 1), value=True).float()
        value[frame] = losses[:, number : number + 1] * mask[frame]
    return {
        **output,
        "reconstruction_loss_each_gazing_token": torch.cat(value, dim=1),
        "reconstruction_loss_each_gazing_token_mask": torch.cat(mask, dim=1),
        "num_gazing_before_each_reconstruction_frame": slots.cumsum(dim=0)[frames],
        "num_non_padded_gazing_at_each_reconstruction_frame": torch.stack(
            [(~of_frame[frame]).sum(dim=1) for frame in frames], dim=1
        ),
    }


def released_result(outputs: Mapping[str, Any], gaze_outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the released task gives for the outputs of :func:`with_losses_of_gazes`.

    The reward of a frame is minus its loss, without gradients.
    """
    losses = outputs["reconstruction_loss_each_reconstruction_frame"]
    padded, frames = gaze_outputs["if_padded_gazing"], len(gaze_outputs["num_gazing_each_frame"])
    candidates = len(padded) * frames * gaze_outputs["num_vision_tokens_each_frame"]
    return {
        "outputs": dict(outputs),
        "loss": outputs["reconstruction_loss"],
        "reward": -losses.detach(),
        "traj_len_each_reward": outputs["num_gazing_before_each_reconstruction_frame"],
        "task_losses": outputs["reconstruction_loss_each_gazing_token"],
        "task_losses_mask": outputs["reconstruction_loss_each_gazing_token_mask"],
        "metrics": {
            "reconstruction_loss": outputs["reconstruction_loss"].mean(),
            "avg_gazing_ratio_per_frame": (~padded).sum() / candidates,
        },
    }
