"""Patch selectors without learning, to compare the gaze model with.

A selector is called with a normalised video (B, T, 3, H, W) and a budget for each of its T frames, and
returns what the gaze model returns. Every one fills its budget, and gives a video the patches it would be
given alone.
"""

from collections.abc import Mapping
from typing import Protocol

from autogaze.gaze.grid import RELEASED_GRID, PatchGrid
from autogaze.selectors.coverage import centre, coarse_first, uniform
from autogaze.selectors.energy import frame_difference, laplacian
from autogaze.selectors.greedy import GreedySelector
from autogaze.selectors.motion import file_motion_vectors, motion_vectors
from autogaze.selectors.ordered import Order, OrderedSelector, Selector
from autogaze.selectors.random_order import random_order

__all__ = ["SELECTORS", "GreedySelector", "OrderedSelector", "Selector", "file_motion_vectors"]


class Factory(Protocol):
    """Makes a selector of patches of ``grid``, by default the released model's."""

    def __call__(self, seed: int, grid: PatchGrid | None = None) -> Selector: ...


def _random(seed: int, grid: PatchGrid | None = None) -> Selector:
    return OrderedSelector(lambda video, _, own: random_order(video, own, seed), grid or RELEASED_GRID)


def _seedless(order: Order) -> Factory:
    return lambda seed, grid=None: OrderedSelector(order, grid or RELEASED_GRID)


SELECTORS: Mapping[str, Factory] = {
    "random": _random,
    "uniform": _seedless(uniform),
    "coarse_first": _seedless(coarse_first),
    "centre": _seedless(centre),
    "frame_difference": _seedless(frame_difference),
    "laplacian": _seedless(laplacian),
    "motion_vectors": _seedless(motion_vectors),
    "greedy": lambda seed, grid=None: GreedySelector(grid or RELEASED_GRID),
}
"""Name to factory: ``SELECTORS[name](seed, grid)``. Only ``random`` depends on the seed."""
