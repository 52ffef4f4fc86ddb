import numpy as np
import pytest

from bench.turns.verdict import (
    Interval,
    always_valid,
    judged,
    ranks_outside,
    stage_verdict,
)
from bench.verdicts import Verdict


def test_intervals_that_are_looked_at_after_every_round_miss_the_median_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(0)
    trials, alpha = 2000, 0.05
    outside = np.array([ranks_outside(rounds, alpha) for rounds in range(1, 201)])
    above = (rng.random((trials, 200)) < 0.5).cumsum(axis=1)
    fewer = np.minimum(above, np.arange(1, 201) - above)
    missed = (fewer < outside).any(axis=1).mean()
    assert 0.005 < missed <= alpha


def test_bursts_move_neither_estimate_nor_interval_by_more_than_their_ranks() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(1.0, 0.01, 60)
    head = 1.05 * rng.normal(1.0, 0.01, 60)
    calm = always_valid(list(head / base), 0.01)
    base[:6] *= 5
    head[6:12] *= 5
    noisy = always_valid(list(head / base), 0.01)
    assert noisy.estimate == pytest.approx(calm.estimate, abs=0.005)
    assert 1.03 < noisy.low < 1.05 < noisy.high < 1.07


def test_too_few_rounds_say_nothing() -> None:
    interval = always_valid([2.0] * 10, 0.01)
    assert (interval.estimate, interval.low, interval.high) == (2.0, 0.0, float("inf"))
    assert judged(interval, 0.02) is Verdict.UNDECIDED
    assert judged(always_valid([2.0] * 11, 0.01), 0.02) is Verdict.SLOWER


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.021, 1.2, Verdict.SLOWER),
        (1.019, 1.2, Verdict.UNDECIDED),
        (0.99, 1.019, Verdict.SAME),
        (0.5, 0.98, Verdict.FASTER),
        (0.5, 0.99, Verdict.UNDECIDED),
    ],
)
def test_only_a_whole_interval_beyond_the_tolerance_is_a_change(
    low: float, high: float, verdict: Verdict
) -> None:
    assert judged(Interval((low + high) / 2, low, high), 0.02) is verdict


def test_both_clocks_must_say_the_same() -> None:
    slower, same = Interval(1.1, 1.05, 1.15), Interval(1.0, 0.99, 1.01)
    assert stage_verdict(slower, slower, 0.02).verdict is Verdict.SLOWER
    assert stage_verdict(slower, None, 0.02).verdict is Verdict.SLOWER
    doubtful = stage_verdict(slower, same, 0.02)
    assert doubtful.verdict is Verdict.UNDECIDED
    assert doubtful.reason == "the wall clock says slower, the second clock same"


@pytest.mark.parametrize("ratios", [[], [0.0], [1.0, -1.0]])
def test_what_are_no_ratios_of_times_is_refused(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match="ratios of times"):
        always_valid(ratios, 0.01)
