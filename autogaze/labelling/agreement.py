"""Agreement of the accelerated search with the exact one."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

from autogaze.datasets.labels import GazeLabels
from autogaze.labelling.greedy import CANDIDATES, greedy_gaze
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction


@dataclass(frozen=True)
class Agreement:
    """Two searches of the same clips with the same budgets."""

    same_picks: float
    """Share of the exact search's patches that the accelerated one chose too, each frame by itself."""
    loss_ratio: float
    """Loss after equally many gazes, accelerated over exact: the mean over all gazes.

    Below 1 it can be: the exact search takes what helps most at once, and in a frame of which little is seen
    that is not always what helps in the end.
    """
    exact_seconds: float
    accelerated_seconds: float


def agreement(
    task: VideoMAEReconstruction,
    video: Tensor,
    budgets: Sequence[int] | Sequence[Sequence[int]],
    candidates: int = CANDIDATES,
    group: int = 1,
    gain_rates: Sequence[float] = (),
) -> Agreement:
    """Search ``video`` (B, T, 3, H, W) both ways; arguments as of :func:`greedy_gaze`."""
    started = time.perf_counter()
    exact = greedy_gaze(task, video, budgets, "exact")
    between = time.perf_counter()
    accelerated = greedy_gaze(task, video, budgets, "accelerated", candidates, group, gain_rates)
    ended = time.perf_counter()
    return Agreement(
        same_picks=_same_picks(exact, accelerated),
        loss_ratio=_loss_ratio(exact, accelerated),
        exact_seconds=between - started,
        accelerated_seconds=ended - between,
    )


def _same_picks(exact: Sequence[GazeLabels], accelerated: Sequence[GazeLabels]) -> float:
    frames = [
        (set(one), set(other))
        for clip, again in zip(exact, accelerated, strict=True)
        for one, other in zip(clip.gazing_pos, again.gazing_pos, strict=True)
    ]
    return sum(len(one & other) for one, other in frames) / sum(len(one) for one, _ in frames)


def _loss_ratio(exact: Sequence[GazeLabels], accelerated: Sequence[GazeLabels]) -> float:
    return fmean(a / e for e, a in zip(_losses(exact), _losses(accelerated), strict=True))


def _losses(labels: Sequence[GazeLabels]) -> Iterable[float]:
    return (loss for clip in labels for frame in clip.task_losses for loss in frame)
