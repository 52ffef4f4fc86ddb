"""Selectors that look at the grid alone: the same patches for every video."""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid

_PLASTIC = 1.324717957244746
"""The real root of x³ = x + 1; multiples of its inverse powers fill a square evenly at any number of points
(Roberts' R2 sequence, 2018)."""


def coarse_first(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Order whole scales from coarse to fine, the patches inside each spread evenly."""
    scales = range(len(grid.scales))
    return _for_all(video, covering_order(budgets, grid, lambda _: scales))


def uniform(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Cover the frame evenly and as finely as the budget allows.

    The finest scale that fits whole covers the frame without a gap, and what is left is spread evenly over
    the next finer one. Nothing is spent on coarser scales, which would show the same again, until all finer
    ones are used up.
    """

    def finest_that_fits(budget: int) -> Sequence[int]:
        fits = max((s for s, count in enumerate(grid.counts) if count <= budget), default=0)
        return [*range(fits, len(grid.counts)), *reversed(range(fits))]

    return _for_all(video, covering_order(budgets, grid, finest_that_fits))


def centre(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Order patches by their distance from the middle of the frame, in sides of their own scale's patches.

    So every scale has as many patches within a distance as any other, and together they make a fovea: fine in
    the middle and coarser outwards. At equal distance the coarser patch is first.
    """
    distances = []
    for side in grid.sides:
        from_middle = torch.arange(side) + 0.5 - side / 2
        distances.append((from_middle[:, None] ** 2 + from_middle[None, :] ** 2).flatten())
    order = torch.cat(distances).argsort(stable=True)
    return _for_all(video, order.expand(len(budgets), -1))


def covering_order(
    budgets: Sequence[int], grid: PatchGrid, priority: Callable[[int], Sequence[int]]
) -> Tensor:
    """Return (T, P) int64: for every frame the scales by ``priority`` of its budget, each spread evenly.

    A scale of which a frame gets a part only is continued in the next frame where this one left it, so that a
    scene that stands still is covered whole in time.
    """
    begun = [0] * len(grid.scales)
    frames = []
    for budget in budgets:
        order: list[int] = []
        for scale in priority(budget):
            count, walk = grid.counts[scale], spread(grid.sides[scale])
            first = begun[scale] % count
            begun[scale] += min(count, max(0, budget - len(order)))
            order += [grid.offsets[scale] + cell for cell in walk[first:] + walk[:first]]
        frames.append(order)
    return torch.tensor(frames)


@cache
def spread(side: int) -> tuple[int, ...]:
    """Return the cells of a ``side`` x ``side`` square, row-major numbers, any few in a row spread evenly."""
    cells: dict[int, None] = {}
    point = 0
    while len(cells) < side * side:
        row, column = ((0.5 + point / _PLASTIC**power) % 1 for power in (1, 2))
        cells.setdefault(int(row * side) * side + int(column * side))
        point += 1
    return tuple(cells)


def _for_all(video: Tensor, order: Tensor) -> Tensor:
    return order.to(video.device).expand(len(video), -1, -1)
