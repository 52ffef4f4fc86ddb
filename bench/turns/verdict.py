"""Verdict on two programs that were measured in turns: faster, same, slower, or not to be decided yet.

A pair is one repetition of the base and one of the head, next to each other in time, in an order that a coin
decides. If both programs are alike, whatever else goes on in the machine, base or head is the slower one of a
pair with chance 1/2, whatever the pairs before. So the number of pairs in which the head is slower follows a
fair coin, and Robbins' mixture (1970) with a uniform weight bounds it at all times at once: with k of n pairs
on one side, 2^n / ((n + 1) C(n, k)) exceeds 1/alpha with a chance of at most alpha, however often one looks
and whenever one stops (Ville, 1939). Held against a ratio other than 1 the same bound gives an interval for
the median ratio of pairs (Howard and Ramdas, 2022, for quantiles in general). It supposes nothing on how
noise is distributed, and outliers move it by a rank each.

Eleven pairs are the fewest that decide anything at 1 %. The interval of 60 pairs ends at the 17th ratio from
either side: where ratios vary normally by 2 %, that is 1.1 % to both sides of the median.

Wall clock alone is fooled where the two processes get different shares of the machine, processor time alone
where work is waited for. Both must say so before a stage is slower or faster.

Processor time moves under load as well, for OpenMP's threads spin while one that they wait for does not run.
On two cores the gaze stage of 16 frames took 0.13 s when nothing else ran, 0.26 s of processor time at most;
at a load average of 6 to 9 it took 0.7 to 3.7 s, and 0.4 to 2.0 s of processor time. And a pair of processes
may be biased for as long as it lives: with others on half of the CPUs, the median of 20 pairs in a stage that
was the same in both lay 1 to 18 % from 1 (0.99, 0.94, 0.94, 0.82), on both clocks, and 0.1 % when nothing
else ran. That is what the noise floor of a machine is for (:mod:`bench.calibration`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bench.verdicts import Verdict, by_interval

ALPHA = 0.01
"""Chance that any interval of a cell ever leaves out the true ratio."""


@dataclass(frozen=True)
class Interval:
    """The median over pairs of head over base, with ends that hold at all times."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


def always_valid(base: Sequence[float], head: Sequence[float], alpha: float) -> Interval:
    """Return the median ratio of pairs of positive times, with an interval that may be looked at after every
    pair and leaves out the true median with a chance of at most ``alpha``.

    The ends are 0 and infinity while the pairs are too few. Raises ``ValueError`` for samples of different
    length, for none, and for times that are not positive.
    """
    if len(base) != len(head) or not base:
        raise ValueError(f"samples of {len(base)} and {len(head)} values are no pairs")
    times = np.asarray([base, head], dtype=float)
    if times.min() <= 0:
        raise ValueError("times to compare must be positive")
    ratios = np.sort(times[1] / times[0])
    outside = ranks_outside(len(ratios), alpha)
    if not outside:
        return Interval(float(np.median(ratios)), 0.0, math.inf)
    return Interval(float(np.median(ratios)), float(ratios[outside - 1]), float(ratios[-outside]))


@cache
def ranks_outside(pairs: int, alpha: float) -> int:
    """Return how many of so many ratios lie below the interval, its low end included; as many lie above."""
    outside = 0
    while outside < pairs / 2 and _evidence(pairs, outside) >= 1 / alpha:
        outside += 1
    return outside


def _evidence(pairs: int, fewer: int) -> float:
    """Return what the mixture says against a fair coin that fell on one side ``fewer`` times of ``pairs``."""
    log_ways = math.lgamma(pairs + 1) - math.lgamma(fewer + 1) - math.lgamma(pairs - fewer + 1)
    return math.exp(min(700.0, pairs * math.log(2) - math.log(pairs + 1) - log_ways))


def judged(interval: Interval, tolerance: float) -> Verdict:
    """Return what one clock says, where a change by the share ``tolerance`` does not matter."""
    return by_interval(interval.low, interval.high, tolerance)


@dataclass(frozen=True)
class StageVerdict:
    """What two clocks say of a stage."""

    verdict: Verdict
    wall: Interval
    witness: Interval | None
    """Processor time on a CPU, device time on a GPU; None where there is no second clock."""
    reason: str = ""
    """Why nothing could be decided."""


def stage_verdict(wall: Interval, witness: Interval | None, tolerance: float) -> StageVerdict:
    """Return the verdict that wall clock and witness agree on; else undecided, with the reason."""
    first = judged(wall, tolerance)
    second = first if witness is None else judged(witness, tolerance)
    if first is second:
        reason = "too few pairs for so much noise" if first is Verdict.UNDECIDED else ""
        return StageVerdict(first, wall, witness, reason)
    says = {Verdict.UNDECIDED: "nothing yet"}
    reason = f"the wall clock says {says.get(first, first)}, the second clock {says.get(second, second)}"
    return StageVerdict(Verdict.UNDECIDED, wall, witness, reason)
