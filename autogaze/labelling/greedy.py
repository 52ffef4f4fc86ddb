"""The greedy search: patches added one at a time, each the one that lowers the reconstruction loss most.

``exact`` tries every patch that is left at every step. ``accelerated`` tries the few that promise most
(:mod:`autogaze.labelling.promise`) and takes the best of those; the losses it records are true ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from autogaze.datasets.labels import GazeLabels
from autogaze.errors import InputError, unknown_name
from autogaze.labelling.incremental import IncrementalReconstruction
from autogaze.labelling.promise import Promise
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

Mode = Literal["exact", "accelerated"]

CANDIDATES = 6
"""Patches that ``accelerated`` tries at a step unless told otherwise.

Time grows with it: 30 gazes in a frame take the embedded reconstructor 0.9 s with 1 candidate, 1.5 s with 2
and 4.2 s with 6, on one core of an AMD EPYC with AVX-512. The exact search tries some 250 at a step. What the
labels lose depends on the reconstructor, and ``python -m autogaze.label --compare-exact 2`` measures it.
"""


@dataclass(frozen=True)
class FrameGaze:
    """What was chosen in one frame of a clip."""

    patches: tuple[int, ...]
    """Patch indices within the frame, in the order they were chosen."""
    losses: tuple[float, ...]
    """The frame's reconstruction loss after each of them."""


def greedy_gaze(
    task: VideoMAEReconstruction,
    video: Tensor,
    budgets: Sequence[int] | Sequence[Sequence[int]],
    mode: Mode = "accelerated",
    candidates: int = CANDIDATES,
) -> list[GazeLabels]:
    """Return the patches that a greedy search chooses in each clip of ``video``, (B, T, 3, H, W) normalised.

    ``budgets`` are the patches of each of the T frames, or those of each frame for each clip. ``candidates``
    is how many patches ``accelerated`` tries at a step. A clip is given what it would be given alone, up to
    the rounding of losses.

    Raises ``InputError`` for a video that does not fit the task, a task that is not causal, budgets that do
    not fit the video, and an unknown mode.
    """
    return as_labels(list(greedy_frames(task, video, budgets, mode, candidates)))


def as_labels(by_frame: Sequence[Sequence[FrameGaze]]) -> list[GazeLabels]:
    """Return for each clip the labels that :func:`greedy_frames` gave frame by frame."""
    return [
        GazeLabels(tuple(frame.patches for frame in clip), tuple(frame.losses for frame in clip))
        for clip in zip(*by_frame, strict=True)
    ]


def greedy_frames(
    task: VideoMAEReconstruction,
    video: Tensor,
    budgets: Sequence[int] | Sequence[Sequence[int]],
    mode: Mode = "accelerated",
    candidates: int = CANDIDATES,
) -> Iterator[list[FrameGaze]]:
    """Give the result of :func:`greedy_gaze` frame by frame, as it is found: for each frame that of each
    clip."""
    if mode not in get_args(Mode):
        raise unknown_name("search mode", mode, get_args(Mode))
    if candidates < 1:
        raise InputError(f"candidates is {candidates}: at least 1 patch must be tried at a step")
    reconstruction = IncrementalReconstruction(task, video)
    by_clip = _check_budgets(budgets, video, reconstruction.grid.patches_per_frame)
    promise = None
    if mode == "accelerated":
        promise = Promise(reconstruction.grid, len(video), video.device)
    for of_frame in zip(*by_clip, strict=True):
        gazes = _search_frame(reconstruction, of_frame, promise, candidates)
        reconstruction.advance([gaze.patches for gaze in gazes])
        yield gazes


@torch.inference_mode()
def _search_frame(
    reconstruction: IncrementalReconstruction,
    budgets: Sequence[int],
    promise: Promise | None,
    candidates: int,
) -> list[FrameGaze]:
    """Choose patches of the current frame, ``budgets[clip]`` of them for each clip."""
    everyone, device = range(len(budgets)), reconstruction.device
    chosen = torch.empty(len(budgets), max(budgets), dtype=torch.int64, device=device)
    losses = torch.empty(len(budgets), max(budgets), device=device)
    closed = torch.zeros(len(budgets), reconstruction.grid.patches_per_frame, dtype=torch.bool, device=device)
    if promise is not None:
        blank = reconstruction.frames(everyone, chosen[:, None, :0])
        before = reconstruction.losses(everyone, blank)[:, 0]
        promise.begin(reconstruction.original(everyone), blank[:, 0])
    for step in range(max(budgets)):
        clips = torch.tensor([clip for clip in everyone if budgets[clip] > step], device=device)
        if promise is None:
            tried = closed[clips].logical_not().nonzero()[:, 1].view(len(clips), -1)
        else:
            tried = promise.best(clips, closed[clips], min(candidates, closed.shape[1] - step))
        trial = _try(reconstruction, clips, chosen[clips, :step], tried)
        if promise is not None:
            promise.learn(clips, tried, before[clips, None] - trial.losses)
            promise.update(clips, reconstruction.original(clips.tolist()), trial.frames)
            before[clips] = trial.losses.amin(dim=1)
        best = trial.losses.argmin(dim=1, keepdim=True)
        chosen[clips, step] = tried.gather(1, best)[:, 0]
        losses[clips, step] = trial.losses.gather(1, best)[:, 0]
        closed[clips, chosen[clips, step]] = True
    return [
        FrameGaze(tuple(patches[:budget]), tuple(after[:budget]))
        for patches, after, budget in zip(chosen.tolist(), losses.tolist(), budgets, strict=True)
    ]


@dataclass(frozen=True)
class _Trial:
    losses: Tensor
    """(clips, tried)."""
    frames: Tensor
    """(clips, C, H, W): the reconstruction with the best patch tried."""


def _try(reconstruction: IncrementalReconstruction, clips: Tensor, chosen: Tensor, tried: Tensor) -> _Trial:
    """Add each of ``tried`` (clips, tried) patches to ``chosen`` (clips, k), and see what comes of it."""
    numbers, rows = clips.tolist(), torch.arange(len(clips), device=clips.device)
    losses, best_frames = [], []
    for patches in tried.split(reconstruction.sets_at_a_time(len(numbers)), dim=1):
        sets = torch.cat([chosen[:, None].expand(-1, patches.shape[1], -1), patches[..., None]], dim=2)
        frames = reconstruction.frames(numbers, sets)
        losses.append(reconstruction.losses(numbers, frames))
        best_frames.append(frames[rows, losses[-1].argmin(dim=1)])
    best = torch.stack([part.amin(dim=1) for part in losses], dim=1).argmin(dim=1)
    return _Trial(torch.cat(losses, dim=1), torch.stack(best_frames, dim=1)[rows, best])


def _check_budgets(
    budgets: Sequence[int] | Sequence[Sequence[int]], video: Tensor, patches_per_frame: int
) -> list[list[int]]:
    """Return the budgets of each frame for each clip."""
    clips, frames = video.shape[:2]
    try:
        values = torch.as_tensor(budgets)
    except (TypeError, ValueError):
        values = torch.empty(0)
    if tuple(values.shape) not in ((frames,), (clips, frames)):
        raise InputError(
            f"budgets {budgets} do not fit {clips} clips of {frames} frames: give one for each frame, or one "
            "for each frame of each clip"
        )
    if not bool(((values >= 1) & (values <= patches_per_frame)).all()):
        raise InputError(f"budgets {budgets} must be from 1 to {patches_per_frame}, the patches of a frame")
    by_clip: list[list[int]] = values.expand(clips, frames).tolist()
    return by_clip
