"""Cost of labelling: how many clips and gazes there are to search, and how long that will take."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from autogaze.datasets.batches import collate, to_inputs
from autogaze.labelling.greedy import greedy_gaze
from autogaze.labelling.maker import Clips, LabelSettings, Shard, clips_to_label, draw_budgets
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

_FRAMES, _GAZES = 2, 8
"""Frames of each clip, and patches of each of these at most, that are searched to see how long it takes."""


@dataclass(frozen=True)
class Cost:
    """What is left to do."""

    clips: int
    gazes: int
    """Patches to search for, over all clips: their numbers are drawn beforehand."""
    seconds: float
    """At the rate of the first few patches."""

    def __str__(self) -> str:
        if not self.clips:
            return "nothing is left to label"
        clips = f"{self.clips} clip{'s' if self.clips > 1 else ''}"
        return f"{clips} with {self.gazes} gazes to search for: about {roughly(self.seconds)}"


def roughly(seconds: float) -> str:
    """Return a time that is known roughly: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def estimate_cost(
    task: VideoMAEReconstruction,
    clips: Clips,
    names: Sequence[str],
    out: Path,
    settings: LabelSettings,
    shard: Shard,
    batch_size: int,
    device: torch.device | str,
    clock: Callable[[], float] = time.perf_counter,
) -> Cost:
    """Return what :func:`~autogaze.labelling.maker.make_labels` with the same arguments would cost, going by
    the first frames of the first batch.

    Raises ``InputError`` as that does, for label files that cannot be read.
    """
    missing = clips_to_label(names, out, shard)
    if not missing:
        return Cost(0, 0, 0.0)
    patches = task.config.grid.patches_per_frame
    budgets = [draw_budgets(names[n], clips.clip_len, settings, patches) for n in missing]
    video = to_inputs(collate([clips[n] for n in missing[:batch_size]]), device)["video_for_task"][
        :, :_FRAMES
    ]
    tried = [[min(budget, _GAZES) for budget in each[:_FRAMES]] for each in budgets[: len(video)]]
    how = (settings.mode, settings.candidates, settings.group, settings.gain_rates)
    task = task.to(device)
    # The first search of a process takes longer than all others.
    with settings.autocast(video.device):
        greedy_gaze(task, video, [[1] * video.shape[1]] * len(video), *how)
        started = clock()
        greedy_gaze(task, video, tried, *how)
    seconds = clock() - started
    gazes = sum(map(sum, budgets))
    return Cost(len(missing), gazes, seconds * gazes / sum(map(sum, tried)))
