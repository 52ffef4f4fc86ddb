"""Batch order: which videos make up which batch, the same for any number of processes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from autogaze.errors import InputError
from autogaze.training.seeds import generator


@dataclass(frozen=True)
class Share:
    """One process's part of every global batch, cut into micro-batches.

    A global batch is split over the processes in order: the first has its first videos, and so on.
    """

    batch_size: int
    """Videos in a global batch."""
    micro_batch_size: int
    """Most videos that go through the model at once in one process."""
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.micro_batch_size < 1:
            raise InputError(
                f"batch_size {self.batch_size} and per_gpu_max_batch_size {self.micro_batch_size} must be at "
                "least 1"
            )
        if self.batch_size % self.world_size:
            raise InputError(
                f"trainer.batch_size {self.batch_size} cannot be split evenly over {self.world_size} "
                "processes; choose a multiple"
            )

    @property
    def micro_batches(self) -> list[range]:
        """Places within the global batch of each micro-batch of this process."""
        own = self.batch_size // self.world_size
        first = self.rank * own
        return [
            range(first + start, first + min(start + self.micro_batch_size, own))
            for start in range(0, own, self.micro_batch_size)
        ]


@dataclass(frozen=True)
class Replay:
    """How often batches are used that were prepared together: rollouts and targets may cost more than a step.

    The names are those of GRPO's implementations.
    """

    steps_per_generation: int
    """Global batches that are prepared together."""
    num_iterations: int
    """Optimizer steps on each."""

    def order(self, batches: int, seed: int, step: int) -> list[int]:
        """Return which of ``batches`` each step uses: all of them in turn, then shuffled, seeded by run and
        first step."""
        shuffled = [
            torch.randperm(batches, generator=generator(seed, "replay", step, iteration)).tolist()
            for iteration in range(1, self.num_iterations)
        ]
        return [*range(batches), *(batch for each in shuffled for batch in each)]


@dataclass(frozen=True)
class EpochOrder:
    """The batches of one epoch: a permutation of the data set, seeded by run and epoch.

    Iterating gives the indices of this process's micro-batches, which is what a ``DataLoader`` takes as
    ``batch_sampler``, from the global batch ``first_batch`` on. Videos that do not fill a last batch are left
    out; another epoch has others.
    """

    videos: int
    share: Share
    seed: int
    epoch: int
    first_batch: int = 0

    def __post_init__(self) -> None:
        if self.videos < self.share.batch_size:
            raise InputError(
                f"the data set has {self.videos} videos, fewer than batch_size {self.share.batch_size}; add "
                "videos or lower trainer.batch_size"
            )

    @property
    def batches(self) -> int:
        """Global batches in a whole epoch."""
        return self.videos // self.share.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.videos, generator=generator(self.seed, "order", self.epoch)).tolist()
        for batch in range(self.first_batch, self.batches):
            start = batch * self.share.batch_size
            for places in self.share.micro_batches:
                yield order[start + places.start : start + places.stop]

    def __len__(self) -> int:
        return (self.batches - self.first_batch) * len(self.share.micro_batches)
