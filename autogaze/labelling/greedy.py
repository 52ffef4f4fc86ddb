"""The greedy search: patches added one at a time, each the one that lowers the reconstruction loss most.

``exact`` tries every patch that is left at every step. ``accelerated`` tries the few with the greatest
estimated gain (:mod:`autogaze.labelling.gain_estimator`) and takes the best of those; the losses it records
are true ones.
With ``group`` patches to a step it takes so many on their estimates and tries them together: the loss after a
group is a true one, and those inside it are interpolated by what each patch was estimated to gain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from autogaze.datasets.labels import GazeLabels
from autogaze.errors import InputError, unknown_name
from autogaze.labelling.gain_estimator import GainEstimator
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.incremental import IncrementalReconstruction

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
    group: int = 1,
    gain_rates: Sequence[float] = (),
) -> list[GazeLabels]:
    """Return the patches that a greedy search chooses in each clip of ``video``, (B, T, 3, H, W) normalised.

    ``budgets`` are the patches of each of the T frames, or those of each frame for each clip. ``candidates``
    is how many patches ``accelerated`` tries at a step, and ``group`` how many it takes: more than one only
    on their estimates, untried, with ``candidates`` of no effect. ``gain_rates``, one for each scale, are
    what estimates go by instead of what is learnt on the way
    (:class:`~autogaze.labelling.gain_estimator.GainEstimator`). A clip is given what it would be given alone,
    up to the rounding of losses.

    Raises ``InputError`` for a video that does not fit the task, a task that is not causal, budgets that do
    not fit the video, rates that do not fit the scales, and an unknown mode.
    """
    return as_labels(list(greedy_frames(task, video, budgets, mode, candidates, group, gain_rates)))


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
    group: int = 1,
    gain_rates: Sequence[float] = (),
) -> Iterator[list[FrameGaze]]:
    """Give the result of :func:`greedy_gaze` frame by frame, as it is found: for each frame that of each
    clip."""
    if mode not in get_args(Mode):
        raise unknown_name("search mode", mode, get_args(Mode))
    if candidates < 1:
        raise InputError(f"candidates is {candidates}: at least 1 patch must be tried at a step")
    if group < 1 or (group > 1 and mode == "exact"):
        raise InputError(
            f"group is {group}: at least 1 patch is taken at a step, and exactly 1 by the exact search"
        )
    if gain_rates and mode == "exact":
        raise InputError("the exact search tries all patches and guesses nothing, so it takes no gain rates")
    reconstruction = IncrementalReconstruction(task, video)
    by_clip = _check_budgets(budgets, video, reconstruction.grid.patches_per_frame)
    estimator = None
    if mode == "accelerated":
        estimator = GainEstimator(reconstruction.grid, len(video), video.device, gain_rates)
    for of_frame in zip(*by_clip, strict=True):
        search = _FrameSearch(reconstruction, of_frame, estimator)
        gazes = search.by_groups(group) if group > 1 else search.one_by_one(candidates)
        reconstruction.advance([gaze.patches for gaze in gazes])
        yield gazes


class _FrameSearch:
    """The search in the current frame: ``budgets[clip]`` patches for each clip."""

    @torch.inference_mode()
    def __init__(
        self,
        reconstruction: IncrementalReconstruction,
        budgets: Sequence[int],
        estimator: GainEstimator | None,
    ) -> None:
        everyone, device = range(len(budgets)), reconstruction.device
        patches = reconstruction.grid.patches_per_frame
        self.reconstruction, self.budgets, self.estimator = reconstruction, budgets, estimator
        self.chosen = torch.empty(len(budgets), max(budgets), dtype=torch.int64, device=device)
        self.losses = torch.empty(len(budgets), max(budgets), device=device)
        self.closed = torch.zeros(len(budgets), patches, dtype=torch.bool, device=device)
        if estimator is not None:
            blank = reconstruction.frames(everyone, self.chosen[:, None, :0])
            self.before = reconstruction.losses(everyone, blank)[:, 0]
            at_best = reconstruction.frames_at_best(everyone)
            estimator.begin(reconstruction.original(everyone), blank[:, 0], at_best)

    @torch.inference_mode()
    def one_by_one(self, candidates: int) -> list[FrameGaze]:
        """Try patches at every step, and take the best."""
        reconstruction, estimator = self.reconstruction, self.estimator
        for step in range(max(self.budgets)):
            clips = self._clips([budget > step for budget in self.budgets])
            if estimator is None:
                tried = self.closed[clips].logical_not().nonzero()[:, 1].view(len(clips), -1)
            else:
                left = self.closed.shape[1] - step
                tried = estimator.best(clips, self.closed[clips], min(candidates, left))
            trial = _try(reconstruction, clips, self.chosen[clips, :step], tried)
            if estimator is not None:
                estimator.learn(clips, tried, self.before[clips, None] - trial.losses)
                estimator.update(clips, reconstruction.original(clips.tolist()), trial.frames)
                self.before[clips] = trial.losses.amin(dim=1)
            best = trial.losses.argmin(dim=1, keepdim=True)
            self._take(clips, step, tried.gather(1, best), trial.losses.gather(1, best))
        return self._found()

    @torch.inference_mode()
    def by_groups(self, group: int) -> list[FrameGaze]:
        """Take patches on their estimates, and see what came of them after each group."""
        estimator = self.estimator
        assert estimator is not None
        for step in range(0, max(self.budgets), group):
            # A clip whose budget ends inside the group has a smaller one of its own: a loss is true only of
            # patches that the clip is given.
            left = [min(group, budget - step) for budget in self.budgets]
            for count in sorted({count for count in left if count > 0}):
                self._take_group(self._clips([each == count for each in left]), step, count, estimator)
        return self._found()

    def _take_group(self, clips: Tensor, step: int, count: int, estimator: GainEstimator) -> None:
        """Take ``count`` patches in each of ``clips`` from place ``step`` on, and learn from what comes of
        it."""
        reconstruction, numbers = self.reconstruction, clips.tolist()
        taken, estimated = estimator.propose(clips, self.closed[clips], count)
        sets = torch.cat([self.chosen[clips, :step], taken], dim=1)[:, None]
        frames = reconstruction.frames(numbers, sets)
        after = reconstruction.losses(numbers, frames)  # (clips, 1)
        gained = (self.before[clips, None] - after) * estimated / estimated.sum(dim=1, keepdim=True)
        estimator.learn(clips, taken, gained)
        estimator.update(clips, reconstruction.original(numbers), frames[:, 0])
        self._take(clips, step, taken, self.before[clips, None] - gained.cumsum(dim=1))
        self.before[clips] = after[:, 0]

    def _clips(self, wanted: Sequence[bool]) -> Tensor:
        """Return the numbers of those clips that are ``wanted``."""
        return torch.tensor(wanted, device=self.closed.device).nonzero()[:, 0]

    def _take(self, clips: Tensor, step: int, patches: Tensor, losses: Tensor) -> None:
        """Add (clips, n) patches from place ``step`` on."""
        places = slice(step, step + patches.shape[1])
        self.chosen[clips, places], self.losses[clips, places] = patches, losses
        self.closed[clips[:, None], patches] = True

    def _found(self) -> list[FrameGaze]:
        return [
            FrameGaze(tuple(patches[:budget]), tuple(after[:budget]))
            for patches, after, budget in zip(
                self.chosen.tolist(), self.losses.tolist(), self.budgets, strict=True
            )
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
