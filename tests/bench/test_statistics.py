import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.statistics import ENOUGH, mean_of, ratio_of_medians, ratio_of_pairs, summarise

TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=12)


def test_a_summary_gives_order_statistics() -> None:
    summary = summarise([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (summary.count, summary.minimum, summary.median, summary.maximum) == (5, 1.0, 3.0, 5.0)
    assert (summary.p25, summary.p75, summary.mad, summary.mean) == (2.0, 4.0, 1.0, 3.0)
    assert summary.warnings == ()


def test_few_samples_are_warned_about() -> None:
    assert summarise([1.0, 2.0, 3.0]).warnings == (f"only 3 samples: need at least {ENOUGH}",)
    assert ratio_of_medians([1.0], [2.0] * 9).warnings == (f"only 1 sample: need at least {ENOUGH}",)


def test_no_values_have_no_statistics() -> None:
    with pytest.raises(ValueError, match="no values"):
        summarise([])
    with pytest.raises(ValueError, match="no values"):
        ratio_of_medians([], [1.0])


def test_times_that_are_not_positive_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ratio_of_medians([0.0], [1.0])


def test_constant_samples_have_an_exact_ratio() -> None:
    ratio = ratio_of_medians([2.0] * 5, [3.0] * 5)
    assert (ratio.low, ratio.estimate, ratio.high, ratio.floor) == (1.5, 1.5, 1.5, 1.5)


def test_a_nearly_constant_sample_still_has_a_finite_interval() -> None:
    ratio = ratio_of_medians([1.0] * 9 + [1.1], [1.0] * 10)
    assert np.isfinite([ratio.low, ratio.high]).all()
    assert ratio.low <= 1.0 <= ratio.high


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(60):
        a, b = rng.lognormal(0, 0.1, 20), 1.3 * rng.lognormal(0, 0.1, 20)
        ratio = ratio_of_medians(list(a), list(b))
        hits += ratio.low <= 1.3 <= ratio.high
    assert 50 <= hits <= 60


@settings(max_examples=20, deadline=None)
@given(TIMES, TIMES)
def test_an_interval_holds_its_estimate_and_is_reproducible(a: list[float], b: list[float]) -> None:
    ratio = ratio_of_medians(a, b)
    assert 0 < ratio.low <= ratio.estimate <= ratio.high
    assert ratio_of_medians(a, b) == ratio


@settings(max_examples=20, deadline=None)
@given(TIMES)
def test_a_sample_compared_with_itself_has_ratio_one(a: list[float]) -> None:
    ratio = ratio_of_medians(a, a)
    assert ratio.low <= 1.0 <= ratio.high
    assert ratio.floor == 1.0


def test_a_mean_has_an_interval_that_holds_it_and_narrows_with_more_values() -> None:
    rng = np.random.default_rng(3)
    few, many = mean_of(list(rng.normal(1, 1, 8))), mean_of(list(rng.normal(1, 1, 200)))
    assert few.low < few.estimate < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert (few.count, few.warnings) == (8, ())


def test_one_value_is_its_own_mean_and_warned_about() -> None:
    mean = mean_of([2.5])
    assert (mean.low, mean.estimate, mean.high, mean.count) == (2.5, 2.5, 2.5, 1)
    assert mean.warnings == (f"only 1 sample: need at least {ENOUGH}",)
    with pytest.raises(ValueError, match="no values"):
        mean_of([])


def test_pairs_keep_their_ratio_whatever_slows_both_of_a_pair() -> None:
    slowed = [1.0, 1.0, 4.0, 9.0, 2.0, 1.0]
    ratio = ratio_of_pairs(slowed, [3 * seconds for seconds in slowed])
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((3.0, 3.0, 3.0))
    assert ratio_of_medians(slowed, [3 * seconds for seconds in slowed]).high > 3.1


def test_one_disturbed_pair_does_not_move_the_ratio_of_pairs() -> None:
    ratio = ratio_of_pairs([1.0] * 7, [2.0] * 6 + [20.0])
    assert ratio.estimate == 2.0
    assert (ratio.low, ratio.floor) == (2.0, 2.0)


def test_samples_of_different_length_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="samples of 2 and 1 values are no pairs"):
        ratio_of_pairs([1.0, 2.0], [1.0])
