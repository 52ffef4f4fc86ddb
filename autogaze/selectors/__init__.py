"""Ways to choose patches without learning, to compare the gaze model with.

A selector is called with a normalised video (B, T, 3, H, W) and a budget for each of its T frames, and
returns what the gaze model returns. Every one fills its budget, and gives a video the patches it would be
given alone.
"""

from collections.abc import Callable, Mapping
from functools import cache

from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig
from autogaze.patches import PatchGrid
from autogaze.selectors.chance import random_order
from autogaze.selectors.coverage import centre, coarse_first, uniform
from autogaze.selectors.energy import frame_difference, laplacian
from autogaze.selectors.greedy import GreedySelector
from autogaze.selectors.motion import file_motion_vectors, motion_vectors
from autogaze.selectors.ordered import Order, OrderedSelector, Selector

__all__ = ["SELECTORS", "GreedySelector", "OrderedSelector", "Selector", "file_motion_vectors"]


def _random(seed: int) -> Selector:
    return OrderedSelector(lambda video, _, grid: random_order(video, grid, seed), _grid())


def _seedless(order: Order) -> Callable[[int], Selector]:
    return lambda seed: OrderedSelector(order, _grid())


@cache
def _grid() -> PatchGrid:
    return AutoGazeConfig().architecture().grid


SELECTORS: Mapping[str, Callable[[int], Selector]] = {
    "random": _random,
    "uniform": _seedless(uniform),
    "coarse_first": _seedless(coarse_first),
    "centre": _seedless(centre),
    "frame_difference": _seedless(frame_difference),
    "laplacian": _seedless(laplacian),
    "motion_vectors": _seedless(motion_vectors),
    "greedy": lambda seed: GreedySelector(_grid()),
}
"""Name to factory: ``SELECTORS[name](seed)``. Only ``random`` depends on the seed."""
