"""Objective: the protocol between the trainer and an algorithm."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from autogaze.datasets.batches import to_inputs
from autogaze.gaze.grid import PatchGrid


@dataclass(frozen=True)
class Moment:
    """Where in training a micro-batch lies; all random draws follow from it."""

    seed: int
    step: int
    steps: int
    """Steps of the whole run."""
    first: int = 0
    """Place of the micro-batch's first video in the global batch."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A micro-batch with all that can be settled without gradients."""

    batch: Mapping[str, Any]
    """As :func:`autogaze.datasets.batches.collate` gives it, on the device."""
    counts: Mapping[str, float]
    """What the loss is divided by, summed over the whole global batch: videos, gazes, ..."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What was drawn or measured for it."""


@dataclass(frozen=True, eq=False)
class Result:
    """One micro-batch's part of the global loss and of what is logged: parts are added up."""

    loss: Tensor
    metrics: Mapping[str, Tensor]


class Objective(nn.Module):
    """A loss with the models in it, as a module, so that it can be wrapped for several processes.

    The trainer prepares all micro-batches of a step, adds up their counts over all processes, and then calls
    :meth:`forward` on one after another with the totals: the gradient is that of the global batch. Where
    :meth:`prepare` rolls out a policy, the videos of a micro-batch share a budget and a stream of draws, so
    another split is another sample; elsewhere the split changes nothing but rounding.
    """

    @property
    @abstractmethod
    def grid(self) -> PatchGrid:
        """The patches of a frame, which labels are of."""

    @abstractmethod
    def prepare(self, batch: Mapping[str, Any], moment: Moment) -> Prepared:
        """Settle what needs no gradient: masks, rollouts, rewards."""

    @abstractmethod
    def forward(self, prepared: Prepared, totals: Mapping[str, float]) -> Result:
        """Return the micro-batch's part of the loss; ``totals`` are the counts of the global batch."""

    @abstractmethod
    def validate(self, batch: Mapping[str, Any], moment: Moment) -> dict[str, tuple[float, float]]:
        """Return for each metric of a batch its sum and how many values it is the sum of."""

    @abstractmethod
    def trained(self) -> dict[str, Any]:
        """Return the models that are trained, by their name in checkpoints: ``gaze``, ``task``."""


def videos(batch: Mapping[str, Any]) -> Tensor:
    """Return the normalised videos of a batch on a device, (B, T, 3, H, W)."""
    return to_inputs(dict(batch), batch["frames"].device)["video"]
