"""Outlook of a cell: what it needs before it is started, told from its axes and inputs alone.

Work is counted in kinds that each have a price on a device (:mod:`suites.prices`): matrix products,
attention, products with few rows, traffic with memory, calls of operators, frames read and frames judged.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Self


@dataclass(frozen=True)
class Effort:
    """Work to be done, in one number format."""

    dtype: str = "float32"
    flops: float = 0.0
    """Of layers over many tokens: matrix products with the attention and the element-wise work between."""
    attention_flops: float = 0.0
    """Of attention alone, over as many keys as there are, masked or not."""
    row_flops: float = 0.0
    """Of products of a matrix with few rows, as in a decode step: bound by memory or by overhead."""
    native_flops: float = 0.0
    """The same in compiled C."""
    bytes: float = 0.0
    """Traffic with memory beside the above."""
    operations: float = 0.0
    """Calls of operators, each with an overhead however small its tensors are."""
    random_values: float = 0.0
    """Weights drawn at random."""
    loaded_bytes: float = 0.0
    """Of weights read from a file, checked, converted and hashed."""
    frames_read: float = 0.0
    """Decoded and brought to the model's size."""
    frames_judged: float = 0.0
    """Compared with the original: PSNR, SSIM."""
    compilations: float = 0.0
    """Kernels compiled for the shapes at hand, in C++."""

    def __mul__(self, times: float) -> Self:
        """Return the effort of doing it so many times."""
        return replace(self, **{name: getattr(self, name) * times for name in KINDS})


KINDS = tuple(each.name for each in fields(Effort) if each.name != "dtype")
"""What is counted, each at a price of its own."""

Efforts = tuple[Effort, ...]


def times(efforts: Iterable[Effort], count: float) -> Efforts:
    """Return efforts that are taken ``count`` times."""
    return tuple(each * count for each in efforts)


@dataclass(frozen=True)
class Outlook:
    """What a cell needs; everything is an expectation, but for the obstacle, which is certain."""

    obstacle: str | None = None
    """Why it cannot run here, and the cure; None where nothing is known to stand in the way."""
    setup: Efforts = ()
    """Before anything is timed: weights, inputs, checks."""
    repetition: Efforts = ()
    least: Efforts | None = None
    """A repetition at its least, where the input decides how much there is to do; None where it does not."""
    judging: Efforts = ()
    """After a repetition; done once where all repetitions give the same."""
    memory_bytes: float = 0.0
    """Expected at its peak, beside a process that has imported everything."""
    certain_bytes: float = 0.0
    """Held at the same time without any doubt."""
