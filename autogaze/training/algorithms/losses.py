"""The losses of the gaze model: of recorded gazes, of its own rollouts, and of its loss prediction.

All take N slots of B videos (or rollouts), return one value for each, and are pinned to the released code's
results in the tests.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def ntp_loss(log_action_probs: Tensor, padded: Tensor, mean_length: float) -> Tensor:
    """Return (B,): minus the summed log-probability of the gazes, over the mean length of a video.

    ``log_action_probs`` and ``padded``, True where a slot holds no gaze, are (B, N). ``mean_length`` is the
    number of gazes of a video, the mean over the global batch.
    """
    return -log_action_probs.masked_fill(padded, 0).sum(dim=1) / mean_length


def task_loss_prediction_loss(
    prediction: Tensor, task_losses: Tensor, measured: Tensor, mean_length: float
) -> Tensor:
    """Return (B,): the summed squared error of predicted losses, over the mean number of measured ones.

    All are (B, N); ``measured`` says at which slots ``task_losses`` were measured, padded ones left out.
    """
    return (prediction - task_losses).square().masked_fill(~measured, 0).sum(dim=1) / mean_length


def advantages(
    reward: Tensor, ends: Sequence[int], padded: Tensor, group_size: int, discount_factor: float
) -> Tensor:
    """Return (B, N): what each gaze is credited with.

    Args:
        reward: (B, R), of R reconstructed frames; B is ``group_size`` rollouts of each video, the group being
            the leading axis: (group_size, videos) flattened.
        ends: for each of the R frames the number of slots up to its end.
        padded: (B, N) True where a slot holds no gaze.
        group_size: rollouts of a video.
        discount_factor: what a reward loses with each gaze that lies between.

    A frame's advantage is its reward minus the mean over the group. It counts for all gazes up to the frame's
    end, discounted by the gazes (padding not counted) still to come before that end.
    """
    advantage = reward - reward.view(group_size, -1, len(ends)).mean(dim=0).repeat(group_size, 1)
    real = ~padded
    credited = advantage.new_zeros(padded.shape)
    for frame, end in enumerate(ends):
        so_far = real[:, :end].cumsum(dim=1)
        to_come = so_far[:, -1:] - so_far
        credited[:, :end] += advantage[:, frame, None] * discount_factor**to_come
    return credited.masked_fill(padded, 0)


def grpo_loss(log_action_probs: Tensor, credited: Tensor) -> Tensor:
    """Return (B,): minus the sum over slots of probability ratio times advantage, both (B, N).

    On-policy: the ratio is one, and its gradient that of the log-probability. There is no clipping, no
    penalty for leaving a reference policy and no division by the group's deviation.
    """
    ratio = torch.exp(log_action_probs - log_action_probs.detach())
    return -(ratio * credited).sum(dim=1)
