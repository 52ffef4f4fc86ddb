"""Costs of a cell in time: what is foreseen of it, set right by what like cells have taken.

A cell takes its set-up, its warm-up and its repetitions, the judging of what came out, and a little between.
What was foreseen of a cell that has been measured, over what it took, says how far off the foresight is on
this machine; a cell that is most like it will be off as far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.records import OURS, WHOLE, Cell, Record
from bench.survey import Foreseen, Span

_SAME_SPREAD, _LIKE_SPREAD, _FORESEEN_SPREAD = 1.25, 1.6, 1.5
"""Factor up and down: of a cell measured before, of one like those measured, and beyond what prices tell."""
_UNKNOWN = Span(low=1.0, high=20.0)
"""Set-up, judging and warm-up of a cell of which nothing is known, in seconds."""
_LEAST = 1e-6

_UNLIKE, _RECENT, _DOUBT = 4.0, 4.0, 1 / 16
"""Evidence counts a quarter for every axis that differs, four times if it is of the run that is going on; the
prices alone count as much as that of a cell that differs in two."""

_WARMUPS_HOST = 1
_WARMUPS_CUDA = 3
"""A GPU needs longer: its allocator, libraries and clocks all settle after the first calls."""
MOST_SAMPLES = 1000
"""More would say nothing new and make a short cell's record huge."""
LEAST_SHARE = 0.1
"""Of the time budget, which is used in any case; its median may have converged then (:mod:`bench.pace`)."""
_TRUST = 30.0
"""Foresight is not set right by more than that: a factor beyond it comes from something not foreseen."""


def warmups(device: str) -> int:
    """Return how many repetitions come before the timed ones on a torch device."""
    return _WARMUPS_CUDA if device.startswith("cuda") else _WARMUPS_HOST


@dataclass(frozen=True)
class Limits:
    """What ends a cell."""

    min_samples: int
    time_budget_seconds: float
    timeout_seconds: float
    warmups: int

    def repetitions(self, seconds: float) -> int:
        """Return how many timed repetitions there are if one takes ``seconds`` and the budget ends them."""
        return self._filling(self.time_budget_seconds, seconds)

    def least_repetitions(self, seconds: float) -> int:
        """Return how many there are if the median converges at once."""
        return self._filling(LEAST_SHARE * self.time_budget_seconds, seconds)

    def _filling(self, budget: float, seconds: float) -> int:
        for_budget = math.ceil(budget / max(seconds, _LEAST))
        return max(self.min_samples, min(MOST_SAMPLES, for_budget))


@dataclass(frozen=True)
class Spent:
    """What a cell took that was measured."""

    cell: Cell
    setup: float
    repetition: float
    """Median of the timed ones, a peer's turn included."""
    repetitions: int
    """Warm-up included."""
    rest: float
    """Everything else: judging, and what lies between repetitions."""
    memory_bytes: int


def spent_of(record: Record) -> Spent:
    """Read from a record what its cell took."""
    setup = sum(sample.seconds for sample in record.samples if sample.stage == "setup")
    stages = [sample for sample in record.samples if sample.stage in (WHOLE, OURS)]
    whole = [sample.seconds for sample in stages if sample.stage == WHOLE and not sample.warmup]
    ours = [sample.seconds for sample in stages if sample.stage == OURS and not sample.warmup]
    repeated = sum(sample.seconds for sample in stages)
    return Spent(
        cell=record.cell,
        setup=setup,
        repetition=(median(whole) if whole else 0.0) + (median(ours) if ours else 0.0),
        repetitions=sum(sample.stage == WHOLE for sample in stages),
        rest=max(0.0, record.elapsed_seconds - setup - repeated),
        memory_bytes=record.memory.device_reserved_peak or record.memory.resident_peak or 0,
    )


@dataclass(frozen=True)
class Evidence:
    """A cell that was measured: what had been foreseen of it, and what it took."""

    foreseen: Foreseen
    spent: Spent
    is_recent: bool = False
    """Measured in the run that is going on, on the machine as it is now."""

    @property
    def cell(self) -> Cell:
        return self.spent.cell


@dataclass(frozen=True)
class Expected:
    """Seconds that a cell takes."""

    seconds: float
    low: float
    high: float
    samples: int
    rough: bool
    outlasts: bool = False
    """Whether its limit ends it before a repetition is timed, even if all goes fast."""


def expected(cell: Cell, foreseen: Foreseen, evidence: Sequence[Evidence], limits: Limits) -> Expected:
    """Return what a cell takes."""
    alike = _weighed(cell, evidence)
    same = any(math.isinf(weight) for weight, _ in alike)
    if not foreseen.known:
        return _from_the_like(alike, limits, same)
    setup = _corrected(
        foreseen.setup, [(weight, each.foreseen.setup, each.spent.setup) for weight, each in alike]
    )
    repetition = _corrected(
        foreseen.repetition,
        [(weight, each.foreseen.repetition, each.spent.repetition) for weight, each in alike],
    )
    rest = [(weight, _rest(each.foreseen, each.spent.repetitions), each.spent.rest) for weight, each in alike]
    spread = _SAME_SPREAD if same else _LIKE_SPREAD if alike else _FORESEEN_SPREAD

    def total(setup: float, repetition: float, part: float, count: int) -> float:
        left = _corrected(_rest(foreseen, count + limits.warmups), rest)
        judged = left.low + part * (left.high - left.low)
        seconds = setup + (count + limits.warmups) * repetition + judged
        return min(seconds, limits.timeout_seconds)

    middle, least, most = repetition.middle, repetition.low / spread, repetition.high * spread
    totals = (
        total(setup.middle, middle, 0.5, limits.repetitions(middle)),
        total(setup.low / spread, least, 0.0, limits.least_repetitions(least)),
        total(setup.low / spread, least, 0.0, limits.repetitions(least)),
        total(setup.high * spread, most, 1.0, limits.repetitions(most)),
    )
    # Shorter repetitions are more of them in the same time, each with something beside it.
    return Expected(
        seconds=totals[0],
        low=min(totals),
        high=max(totals),
        samples=limits.repetitions(repetition.middle),
        rough=not same,
        outlasts=(setup.low + (limits.warmups + 1) * repetition.low) / spread > limits.timeout_seconds,
    )


def _rest(foreseen: Foreseen, repetitions: int) -> Span:
    return Span(
        low=foreseen.judging.low + repetitions * foreseen.between.low,
        high=foreseen.judging.high + repetitions * foreseen.between.high,
    )


def _from_the_like(alike: Sequence[tuple[float, Evidence]], limits: Limits, same: bool) -> Expected:
    """Return what the most like cells took, each with as many repetitions as there are to be now."""
    if not alike:
        busy = limits.time_budget_seconds
        low, middle, high = (
            min(each + busy, limits.timeout_seconds)
            for each in (_UNKNOWN.low, _UNKNOWN.middle, _UNKNOWN.high)
        )
        return Expected(middle, low, high, limits.min_samples, rough=True)
    most = max(weight for weight, _ in alike)
    spent = [each.spent for weight, each in alike if weight == most]
    counts = [limits.repetitions(each.repetition) for each in spent]
    totals = [
        each.setup + (count + limits.warmups) * each.repetition + each.rest
        for each, count in zip(spent, counts, strict=True)
    ]
    seconds = sum(totals) / len(totals)
    spread = _SAME_SPREAD if same else _LIKE_SPREAD
    low, middle, high = (
        min(each, limits.timeout_seconds) for each in (seconds / spread, seconds, seconds * spread)
    )
    return Expected(middle, low, high, round(sum(counts) / len(counts)), rough=not same)


def _corrected(span: Span, pairs: Sequence[tuple[float, Span, float]]) -> Span:
    """Return the span set right by what is known of cells: weight, what was foreseen, and what it was.

    The factors between these two are averaged, that of no correction among them.
    """
    found = [
        (weight, math.log(min(_TRUST, max(1 / _TRUST, was / foreseen.middle))))
        for weight, foreseen, was in pairs
        if foreseen.middle > _LEAST and was > _LEAST
    ]
    if not found or span.middle <= _LEAST:
        return Span(low=max(span.low, _LEAST), high=max(span.high, _LEAST))
    doubt = 0.0 if any(math.isinf(weight) for weight, _ in found) else _DOUBT
    found = [(1.0, ratio) for weight, ratio in found if math.isinf(weight)] or found
    total = doubt + sum(weight for weight, _ in found)
    factor = math.exp(sum(weight * ratio for weight, ratio in found) / total)
    # What is known well is known to the point; what is not keeps its range.
    narrow = (1 - doubt / total) / 2
    low, high = factor * span.low, factor * span.high
    middle = factor * span.middle
    return Span(
        low=low ** (1 - 2 * narrow) * middle ** (2 * narrow),
        high=high ** (1 - 2 * narrow) * middle ** (2 * narrow),
    )


def _weighed(cell: Cell, evidence: Sequence[Evidence]) -> list[tuple[float, Evidence]]:
    """Return the evidence of like cells with its weight, which is without bounds for that cell itself."""
    found = []
    for each in evidence:
        if each.cell.workload != cell.workload:
            continue
        unlike = sum(each.cell.axes.get(name) != value for name, value in cell.axes.items())
        weight = _UNLIKE**-unlike * (_RECENT if each.is_recent else 1.0)
        found.append((weight if unlike else math.inf, each))
    return found
