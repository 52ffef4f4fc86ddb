"""Pace: how many timed repetitions a cell takes, and what ended them.

A cell has taken enough when its median has converged: when the interval of the median is narrow, whatever the
distribution (:func:`bench.statistics.half_width_of_median`). The time budget ends it in any case, and so does
the timeout. What lies near in time is alike, so a few short repetitions at the beginning prove nothing: no
cell has converged before a tenth of its budget is used.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.costs import LEAST_SHARE, MOST_SAMPLES
from bench.job import Job
from bench.statistics import half_width_of_median

CONVERGED = 0.01
"""Half of the 95 % interval of the median, as a share of the median, at which a cell has enough samples."""

MEDIAN, BUDGET, TIMEOUT, MOST, TURNS = "median converged", "time budget", "timeout", "most samples", "turns"
"""What ends the repetitions, as the record has it."""

ENDED, HALF_WIDTH, TOLERANCE = "sampling.ended", "sampling.half_width", "sampling.tolerance"
"""Details of the record."""

_ROOM = 2.0
"""Repetitions, each as long as the longest so far, that must fit before another one begins: a slow
cell takes fewer samples, and is not lost."""
_OFTEN = 1.05
"""Samples are looked at again when there are so many times as many."""


@dataclass
class Taken:
    """Timed repetitions so far."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Of each stage whose median counts: the whole, and ours in turns with a peer."""
    spent: float = 0.0
    """Seconds of all of them together."""
    ended: str = ""

    def add(self, stage: str, seconds: float) -> None:
        """Count a stage of a repetition."""
        self.seconds.setdefault(stage, []).append(seconds)
        self.spent += seconds

    @property
    def half_width(self) -> float | None:
        """Half of the widest interval of a median, as a share of that; None where there are too few
        samples."""
        widths = [half_width_of_median(values) for values in self.seconds.values()]
        known = [width for width in widths if width is not None]
        return max(known) if known and len(known) == len(widths) else None

    def details(self) -> dict[str, str | float]:
        """Return what the record says of it."""
        if not self.ended:
            return {}
        width = self.half_width
        found: dict[str, str | float] = {ENDED: self.ended, TOLERANCE: CONVERGED}
        return found if width is None else {**found, HALF_WIDTH: width}


def repetitions(job: Job, started: float, taken: Taken) -> Iterator[int]:
    """Count repetitions, from 0, until there are enough; what each took is added to ``taken`` meanwhile.

    ``started`` is the moment of ``time.perf_counter()`` from which the timeout counts.
    """
    longest, index, look = 0.0, 0, 0
    while True:
        began = time.perf_counter()
        looks = index >= look
        if looks:
            look = max(index + 1, math.ceil(_OFTEN * index))
        ended = _ended(job, taken, index, looks) if index >= job.min_samples else None
        if ended is None and index and began - started + _ROOM * longest > job.timeout_seconds:
            ended = TIMEOUT
        if ended is not None:
            break
        yield index
        index += 1
        longest = max(longest, time.perf_counter() - began)
    taken.ended = ended


def _ended(job: Job, taken: Taken, count: int, looks: bool) -> str | None:
    """Say what ends a cell after ``count`` repetitions; None where it goes on. It ``looks`` at the samples
    now and then only."""
    if taken.spent >= job.time_budget_seconds:
        return BUDGET
    if count >= MOST_SAMPLES:
        return MOST
    if not looks or taken.spent < LEAST_SHARE * job.time_budget_seconds:
        return None
    width = taken.half_width
    return MEDIAN if width is not None and width < CONVERGED else None
