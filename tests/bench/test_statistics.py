import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.statistics import (
    ENOUGH,
    half_width_of_median,
    holm,
    interval_of_median,
    mean_of,
    ratio_of_medians,
    ratio_of_pairs,
    summarise,
)

TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=12)


def test_a_summary_gives_order_statistics() -> None:
    summary = summarise([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (summary.count, summary.p5, summary.median, summary.p95) == (5, 1.2, 3.0, 4.8)
    assert summary.warnings == ()


@pytest.mark.parametrize(
    ("count", "ranks"), [(5, None), (6, (1, 6)), (9, (2, 8)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))]
)
def test_the_interval_of_a_median_has_the_ranks_of_the_tables(
    count: int, ranks: tuple[int, int] | None
) -> None:
    values = [float(value) for value in range(count, 0, -1)]
    assert interval_of_median(values) == ranks


@given(st.integers(6, 400))
def test_no_larger_rank_would_hold_the_median_surely_enough(count: int) -> None:
    interval = interval_of_median([float(value) for value in range(1, count + 1)])
    assert interval is not None
    rank = interval[0]
    assert 2 * stats.binom.cdf(rank - 1, count, 0.5) <= 0.05 < 2 * stats.binom.cdf(rank, count, 0.5)
    assert interval[1] == count + 1 - rank


def test_half_the_interval_is_told_as_a_share_of_the_median() -> None:
    assert half_width_of_median([9.0, 10.0, 10.0, 10.0, 10.0, 12.0]) == pytest.approx(0.15)
    assert half_width_of_median([1.0] * 6) == 0.0
    assert half_width_of_median([1.0] * 5) is half_width_of_median([]) is None
    assert half_width_of_median([0.0] * 9) is None


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


@pytest.mark.parametrize("count", [2, 4, 8])
def test_the_mean_of_a_few_normal_values_is_wrongly_told_from_zero_in_one_case_of_twenty(count: int) -> None:
    samples = np.random.default_rng(11).normal(0, 1, (2000, count))
    means = [mean_of(list(sample)) for sample in samples]
    alarms = sum(mean.low > 0 or mean.high < 0 for mean in means)
    assert 70 <= alarms <= 130, "100 expected, 3 standard deviations either way"
    assert alarms == sum(mean.p_value < 0.05 for mean in means), "interval and p-value say the same"


def test_a_mean_agrees_with_the_t_test_of_scipy() -> None:
    values = [0.3, -0.1, 0.4, 0.2]
    mean, expected = mean_of(values), stats.ttest_1samp(values, 0)
    assert mean.p_value == pytest.approx(expected.pvalue)
    assert (mean.low, mean.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


@pytest.mark.parametrize("values", [[2.5], [2.5, 2.5, 2.5], [0.0] * 9])
def test_values_without_spread_have_a_mean_and_no_interval(values: list[float]) -> None:
    mean = mean_of(values)
    assert (mean.estimate, mean.count) == (values[0], len(values))
    assert (mean.low, mean.high, mean.p_value) == (-np.inf, np.inf, 1.0)


def test_a_mean_of_few_values_is_warned_about() -> None:
    caveat = "only 4 samples: intervals of so few suppose that they are normal"
    assert mean_of([1.0, 2.0, 3.0, 4.0]).warnings == (caveat,)
    with pytest.raises(ValueError, match="no values"):
        mean_of([])


def test_p_values_are_corrected_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02]), "Holm, 1979"
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_keep_their_order_between_none_and_bonferronis(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= more <= min(1, len(p_values) * p) for p, more in zip(p_values, corrected))
    assert sorted(corrected) == [corrected[i] for i in np.argsort(p_values, kind="stable")]


def test_a_verdict_over_many_comparisons_is_seldom_wrong_anywhere() -> None:
    samples = np.random.default_rng(13).normal(0, 1, (300, 20, 4))
    wrong = [min(holm([mean_of(list(values)).p_value for values in report])) < 0.05 for report in samples]
    assert 4 <= sum(wrong) <= 26, "15 expected; without a correction 192"


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
