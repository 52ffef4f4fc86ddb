"""Masks to train a reconstructor on: gazes by a mixture of selectors, so that it favours none, or by a gaze
model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from autogaze.errors import InputError, unknown_name
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import GazeOutput, concatenated
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig
from autogaze.models.autogaze.budgets import budgets_of, draw_ratio, draw_ratios
from autogaze.selectors import SELECTORS
from autogaze.training.algorithms.objective import Moment
from autogaze.training.algorithms.scores import ROLLOUT_POSITIONS
from autogaze.training.schedules import exponential
from autogaze.training.seeds import derived_seed, generator, seed_torch


class Masks(Protocol):
    """Chooses the patches that a reconstructor is to paint from."""

    def draw(self, video: Tensor, moment: Moment) -> GazeOutput:
        """Choose patches for (B, T, 3, H, W) videos."""


class PolicyMasks(nn.Module):
    """What a gaze model chooses, under its configuration's own budgets; it learns nothing."""

    def __init__(self, gaze: AutoGaze, temp_start: float, temp_end: float) -> None:
        super().__init__()
        self.gaze = gaze.requires_grad_(False)
        self.temperatures = (temp_start, temp_end)
        """Of sampling, at the first step and at the last."""

    def draw(self, video: Tensor, moment: Moment) -> GazeOutput:
        """Choose patches for (B, T, 3, H, W) videos.

        The sampler draws for all videos of the micro-batch from one stream.
        """
        seed_torch(moment.seed, "rollout", moment.step, moment.first)
        temperature = exponential(*self.temperatures, moment.steps)(moment.step)
        gaze: GazeOutput = self.gaze(
            {"video": video},
            temperature=temperature,
            step_positions=ROLLOUT_POSITIONS,
            generate_only=True,
        )
        return gaze


@dataclass(frozen=True)
class MaskMixture:
    """Draws a selector and a budget for every few videos, and lets it choose their patches."""

    selectors: Mapping[str, float]
    """Name of a selector (:mod:`autogaze.selectors`) to its weight in the mixture."""
    strategies: AutoGazeConfig
    """Its ``gazing_ratio_config`` and ``gazing_ratio_each_frame_config`` say how budgets are drawn."""
    grid: PatchGrid
    group_size: int = 1
    """Videos that share a draw: more are quicker on a GPU, fewer vary more."""

    def __post_init__(self) -> None:
        for name, weight in self.selectors.items():
            if name not in SELECTORS:
                raise unknown_name("selector in task.mask_selectors", name, SELECTORS)
            if not weight >= 0:
                raise InputError(
                    f"task.mask_selectors gives {name} the weight {weight}; at least 0 is needed"
                )
        if not sum(self.selectors.values()):
            raise InputError("task.mask_selectors names no selector of a weight above 0; give random: 1")
        if self.group_size < 1:
            raise InputError(f"task.mask_group_size {self.group_size} must be at least 1")

    def draw(self, video: Tensor, moment: Moment) -> GazeOutput:
        """Choose patches for (B, T, 3, H, W) videos.

        Depends on the place in the global batch alone: groups are those of the global batch, wherever it is
        split.
        """
        groups, start = list[GazeOutput](), 0
        while start < len(video):
            group, before = divmod(moment.first + start, self.group_size)
            end = start + self.group_size - before
            place = moment.seed, moment.step, group * self.group_size
            groups.append(self._group(video[start:end], *place))
            start = end
        return concatenated(groups, self.grid)

    def _group(self, video: Tensor, seed: int, step: int, first: int) -> GazeOutput:
        place = ("mask", step, first)
        names, weights = zip(*self.selectors.items(), strict=True)
        shares = torch.tensor(weights, dtype=torch.float64)
        drawn = torch.multinomial(shares, 1, generator=generator(seed, *place, "selector"))
        seed_torch(seed, *place, "ratios")
        ratios = draw_ratios(
            self.strategies, True, draw_ratio(self.strategies, True), video.shape[1], _no_rollout
        )
        selector = SELECTORS[names[int(drawn)]](derived_seed(seed, *place), self.grid)
        return selector(video, budgets_of(ratios, self.grid.patches_per_frame))


def _no_rollout(caps: Tensor) -> Tensor:
    raise InputError(
        "gazing_ratio_each_frame_config asks for strategy 'self', which needs a gaze model; a reconstructor "
        "is trained with 'uniform' or 'dirichlet'"
    )
