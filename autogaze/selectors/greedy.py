"""The greedy search as a selector: what can be had by trying patches out."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from autogaze.embedded import load_reconstructor
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import GazeOutput, gaze_output
from autogaze.selectors.ordered import check_request
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction


class GreedySelector:
    """Chooses as the label maker does, by trying patches out on a reconstructor: a
    :data:`~autogaze.selectors.ordered.Selector`.

    It sees the losses that others only guess, so it shows what is left to gain, and is no upper bound: it
    tries the few patches that promise most (mode ``accelerated``) and never takes one back. ``task`` is the
    reconstructor, where videos are and in their precision; by default the embedded one, loaded when first
    needed and brought there.
    """

    def __init__(self, grid: PatchGrid, task: VideoMAEReconstruction | None = None) -> None:
        self.grid = grid
        self.task = task

    @cached_property
    def _embedded(self) -> VideoMAEReconstruction:
        return load_reconstructor(None)[0]

    def __call__(self, video: Tensor, budgets: Sequence[int]) -> GazeOutput:
        checked = check_request(video, budgets, self.grid)
        from autogaze.labelling import greedy_gaze

        task = self._embedded.to(video.device, video.dtype) if self.task is None else self.task
        labels = greedy_gaze(task, video, checked, mode="accelerated")
        frames = [
            torch.tensor([clip.gazing_pos[t] for clip in labels], device=video.device)
            for t in range(len(checked))
        ]
        return gaze_output(frames, self.grid, requirement=None)
