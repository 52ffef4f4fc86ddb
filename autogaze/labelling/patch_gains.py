"""Gains that every patch is estimated to bring along given gazes: what a policy can be taught with.

The greedy search tells which patch it takes. A policy learns more from what *every* patch would have gained,
and most where it goes itself: then patches that show again what was just seen are told to be worth nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.output import GazeOutput
from autogaze.labelling.gain_estimator import GainEstimator
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.incremental import IncrementalReconstruction


class Gains(NamedTuple):
    """For N slots of B clips."""

    estimated: Tensor
    """(B, N, patches) float32, at least 0: the loss that each patch is estimated to take off at a slot."""
    losses: Tensor
    """(B, N) float32: the frame's reconstruction loss after each slot."""


@torch.inference_mode()
def estimated_gains(
    task: VideoMAEReconstruction, video: Tensor, gaze: GazeOutput, rates: Sequence[float], group: int
) -> Gains:
    """Return the gains along the gazes of ``video``, (B, T, 3, H, W) normalised.

    The frame is reconstructed after every ``group`` gazes, and there losses are true ones; inside a group
    they are interpolated by the estimate for each gaze. ``rates`` are those of
    :class:`~autogaze.labelling.gain_estimator.GainEstimator`. Raises ``InputError`` for a video that does not
    fit the task, a task that is not causal, rates that are not one for each scale, and gazes with padding.
    """
    if bool(gaze.if_padded_gazing.any()):
        raise InputError("gains are told of gazes without padding; choose them without a requirement")
    if not rates:
        raise InputError("gains need gain rates, one for each scale, such as 0, 0.5, 1 and 1")
    reconstruction = IncrementalReconstruction(task, video)
    grid = reconstruction.grid
    estimator = GainEstimator(grid, len(video), video.device, rates)
    slots = gaze.num_gazing_each_frame.tolist()
    frames = (gaze.gazing_pos % grid.patches_per_frame).split(slots, dim=1)
    parts = [_along_frame(reconstruction, estimator, frame, group) for frame in frames]
    return Gains(*(torch.cat(each, dim=1) for each in zip(*parts, strict=True)))


def _along_frame(
    reconstruction: IncrementalReconstruction, estimator: GainEstimator, patches: Tensor, group: int
) -> Gains:
    """Return the gains along (B, k) patches of the current frame, and go on to the next."""
    clips = torch.arange(len(patches), device=patches.device)
    numbers = clips.tolist()
    original = reconstruction.original(numbers)

    def shown(count: int) -> tuple[Tensor, Tensor]:
        frames = reconstruction.frames(numbers, patches[:, None, :count])
        return frames[:, 0], reconstruction.losses(numbers, frames)

    picture, loss = shown(0)
    estimator.begin(original, picture, reconstruction.frames_at_best(numbers))
    estimated, losses = [], []
    for start in range(0, patches.shape[1], group):
        taken = patches[:, start : start + group]
        guesses = estimator.along(clips, taken)
        estimated.append(guesses)
        picture, after = shown(start + taken.shape[1])
        estimator.update(clips, original, picture)
        parts = guesses.gather(2, taken[..., None])[..., 0].clamp(min=1e-9).cumsum(dim=1)
        losses.append(loss + (after - loss) * parts / parts[:, -1:])
        loss = after
    reconstruction.advance(patches.tolist())
    return Gains(torch.cat(estimated, dim=1).float(), torch.cat(losses, dim=1).float())
