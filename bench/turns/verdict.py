"""Verdict on two programs that were measured in turns: faster, same, slower, or not to be decided yet.

A round is a process of the base and one of the head, which do a few repetitions in turns, in an order that a
coin decides; its ratio is the median over these pairs. Pairs of one round are no evidence of their own: one
of the two processes may be faster for as long as it lives, by where its memory happens to lie. On a quiet
machine the ratios of six rounds of two trees, the same cell each time, went from 1.03 to 1.17, each steady
within a round. But if both programs are alike, whatever else goes on in the machine, base or head is the
slower one of a round with chance 1/2, whatever the rounds before. So the number of rounds in which the head
is slower follows a fair coin, and Robbins' mixture (1970) with a uniform weight bounds it at all times at
once: with k of n rounds on one side, 2^n / ((n + 1) C(n, k)) exceeds 1/alpha with a chance of at most alpha,
however often one looks and whenever one stops (Ville, 1939). Held against a ratio other than 1 the same bound
gives an interval for the median ratio of rounds (Howard and Ramdas, 2022, for quantiles in general). It
supposes nothing on how noise is distributed, and outliers move it by a rank each.

Eleven rounds are the fewest that decide anything at 1 %. The interval of 60 rounds ends at the 17th ratio
from either side: where ratios vary normally by 2 %, that is 1.1 % to both sides of the median.

Wall clock alone is fooled where the two processes get different shares of the machine, processor time alone
where work is waited for. Both must say so before a stage is slower or faster.

Processor time moves under load as well, for OpenMP's threads spin while one that they wait for does not run.
On two cores the gaze stage of 16 frames took 0.13 s when nothing else ran, 0.26 s of processor time at most;
at a load average of 6 to 9 it took 0.7 to 3.7 s, and 0.4 to 2.0 s of processor time. And a pair of processes
may be biased for as long as it lives: with others on half of the CPUs, the median of 20 pairs in a stage that
was the same in both lay 1 to 18 % from 1 (0.99, 0.94, 0.94, 0.82), on both clocks, and 0.1 % when nothing
else ran. So there are many rounds, and a noise floor of the machine where it was calibrated
(:mod:`bench.calibration`).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bench.verdicts import Verdict, by_interval

ALPHA = 0.01
"""Chance that any interval of a cell ever leaves out the true ratio."""


@dataclass(frozen=True)
class Interval:
    """The median over rounds of head over base, with ends that hold at all times."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


def always_valid(ratios: Sequence[float], alpha: float) -> Interval:
    """Return the median of positive ratios, with an interval that may be looked at after every one of them
    and leaves out the true median with a chance of at most ``alpha``.

    The ends are 0 and infinity while the ratios are too few. Raises ``ValueError`` for none, and for ratios
    that are not positive.
    """
    if not ratios or min(ratios) <= 0:
        raise ValueError("an interval takes ratios of times, and those are positive")
    ordered = sorted(ratios)
    outside = ranks_outside(len(ordered), alpha)
    middle = statistics.median(ordered)
    if not outside:
        return Interval(middle, 0.0, math.inf)
    return Interval(middle, ordered[outside - 1], ordered[-outside])


@cache
def ranks_outside(ratios: int, alpha: float) -> int:
    """Return how many of so many ratios lie below the interval, its low end included; as many lie above."""
    outside = 0
    while outside < ratios / 2 and _evidence(ratios, outside) >= 1 / alpha:
        outside += 1
    return outside


def _evidence(throws: int, fewer: int) -> float:
    """Return what the mixture says against a fair coin that showed one side ``fewer`` times of ``throws``."""
    log_ways = math.lgamma(throws + 1) - math.lgamma(fewer + 1) - math.lgamma(throws - fewer + 1)
    return math.exp(min(700.0, throws * math.log(2) - math.log(throws + 1) - log_ways))


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
        reason = "too few rounds for so much noise" if first is Verdict.UNDECIDED else ""
        return StageVerdict(first, wall, witness, reason)
    says = {Verdict.UNDECIDED: "nothing yet"}
    reason = f"the wall clock says {says.get(first, first)}, the second clock {says.get(second, second)}"
    return StageVerdict(Verdict.UNDECIDED, wall, witness, reason)
