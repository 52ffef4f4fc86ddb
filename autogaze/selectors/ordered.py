"""Selectors that put the patches of every frame in an order and keep the first of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index

from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import GazeOutput, gaze_output

Selector = Callable[[Tensor, Sequence[int]], GazeOutput]
"""Called with a normalised video (B, T, 3, H, W) and the patches to keep in each of its T frames."""

Order = Callable[[Tensor, tuple[int, ...], PatchGrid], Tensor]
"""Given a video, budgets and the grid, returns (B, T, P) int64: every frame's patch indices, best first."""


@dataclass(frozen=True)
class OrderedSelector:
    """Keeps the first patches of an order: a :data:`Selector`.

    Raises ``InputError`` for a video or budgets that fit neither each other nor the grid.
    """

    order: Order
    grid: PatchGrid

    def __call__(self, video: Tensor, budgets: Sequence[int]) -> GazeOutput:
        checked = check_request(video, budgets, self.grid)
        order = self.order(video, checked, self.grid)
        frames = [order[:, t, :budget] for t, budget in enumerate(checked)]
        return gaze_output(frames, self.grid, requirement=None)


def check_request(video: Tensor, budgets: Sequence[int], grid: PatchGrid) -> tuple[int, ...]:
    """Return the budgets, if video and budgets can be served; raise ``InputError`` if not."""
    if video.dim() != 5 or video.shape[2] != 3 or 0 in video.shape or not video.is_floating_point():
        raise InputError(
            f"video of shape {tuple(video.shape)} and type {video.dtype} must be a non-empty, normalised "
            "float video of shape (batch, frames, 3, height, width)"
        )
    try:
        counts = tuple(index(budget) for budget in budgets)
    except TypeError:
        raise InputError(
            f"budgets {budgets!r} are not whole numbers, one for each frame: give a list of "
            f"{video.shape[1]}, each from 1 to {grid.patches_per_frame}"
        ) from None
    if len(counts) != video.shape[1]:
        raise InputError(
            f"there are {len(counts)} budgets for {video.shape[1]} frames: give one for each frame"
        )
    for budget in counts:
        if not 1 <= budget <= grid.patches_per_frame:
            raise InputError(
                f"a budget of {budget} patches is out of reach: a frame has {grid.patches_per_frame} "
                "candidates, of which at least one is kept"
            )
    return counts
