"""What two recorded runs say of a stage, rule by rule."""

import pytest

from bench.margins import UNCALIBRATED, Margin
from bench.recorded import StageComparison, compare_stage
from bench.statistics import percentile, samples_needed
from bench.verdicts import Verdict
from bench.work import WorkChange
from tests.bench import builders

CELL = builders.cell()
KNOWN = Margin(1.05, True, "")


def compared(
    ratio: float,
    processor_b: float | None = 1.0,
    margin: Margin = KNOWN,
    work: WorkChange | None = None,
    repetitions: int = 8,
) -> StageComparison:
    """Compare a stage that takes ``ratio`` times as long in B."""
    a = builders.record(CELL, {"end_to_end": [1.0] * repetitions})
    b = builders.record(CELL, {"end_to_end": [ratio] * repetitions}, processor=processor_b)
    return compare_stage(a, b, "end_to_end", 0.10, margin, work, 1.0)


def test_slower_needs_both_clocks() -> None:
    assert compared(1.3).verdict is Verdict.SLOWER
    waiting = compared(1.3, processor_b=1 / 1.3)
    assert waiting.verdict is Verdict.UNDECIDED
    assert waiting.reason == "the wall clock says slower, the second clock same"


@pytest.mark.parametrize(("ratio", "verdict"), [(1.3, Verdict.SLOWER), (1 / 1.3, Verdict.FASTER)])
def test_a_difference_that_runs_of_one_tree_show_too_is_undecided(ratio: float, verdict: Verdict) -> None:
    assert compared(ratio, margin=Margin(1.25, True, "")).verdict is verdict
    noisy = compared(ratio, margin=Margin(1.35, True, ""))
    assert (noisy.verdict, noisy.reason) == (
        Verdict.UNDECIDED,
        "two runs of one tree may differ by 1.35 × here",
    )


def test_what_two_quiet_runs_of_one_commit_once_differed_by_is_no_slowdown_without_a_calibration() -> None:
    assert compared(1.366, margin=Margin()).verdict is Verdict.UNDECIDED
    assert compared(1.521, margin=Margin()).verdict is Verdict.SLOWER


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.0, Verdict.UNDECIDED), (1.4, Verdict.UNDECIDED), (1.6, Verdict.SLOWER), (0.6, Verdict.FASTER)],
)
def test_one_clock_alone_is_believed_beyond_the_margin_of_an_unknown_machine(
    ratio: float, verdict: Verdict
) -> None:
    found = compared(ratio, processor_b=None)
    assert found.verdict is verdict
    assert found.witness is None
    if verdict is Verdict.UNDECIDED:
        assert found.reason == f"a run has no processor time, and the change is below {UNCALIBRATED:g} ×"


def test_more_work_is_told_apart_from_slower_work() -> None:
    priced = WorkChange("decode_steps", 320, 480, 1.4, 1.4)
    assert compared(1.4, work=priced).verdict is Verdict.MORE_WORK
    both = compared(1.4 * 1.3, work=priced)
    assert both.verdict is Verdict.SLOWER
    assert both.slower_work == pytest.approx((1.3, 1.3))


def test_without_a_price_time_is_slower_work_where_it_grew_by_more_than_the_work() -> None:
    unpriced = WorkChange("decode_steps", 320, 480, 1.0, 1.5)
    more = compared(1.5, work=unpriced)
    assert more.verdict is Verdict.MORE_WORK
    assert more.reason.startswith("decode_steps went from 320 to 480; too few like cells")
    assert compared(1.5 * 1.2, work=unpriced).verdict is Verdict.SLOWER


def test_less_work_is_not_called_faster_and_as_long_for_less_is_slower() -> None:
    less = WorkChange("decode_steps", 480, 320, 0.7, 0.7)
    assert compared(0.7, work=less).verdict is Verdict.LESS_WORK
    assert compared(1.0, work=less).verdict is Verdict.SLOWER


def test_a_small_stage_is_negligible_and_not_the_same() -> None:
    a, b = (
        builders.record(CELL, {"end_to_end": [1.0] * 8, "decode": [seconds] * 8}) for seconds in (0.01, 0.02)
    )
    found = compare_stage(a, b, "decode", 0.10, KNOWN, None, 1.0)
    assert (found.verdict, found.reason) == (
        Verdict.NEGLIGIBLE,
        "too small a share of the whole to matter",
    )


def test_a_noisy_stage_is_negligible_only_if_the_noise_between_runs_is_too() -> None:
    noisy = [0.02, 0.03, 0.02, 0.03, 0.02, 0.03]
    a, b = (builders.record(CELL, {"end_to_end": [1.0] * 6, "decode": each}) for each in (noisy, noisy))
    assert compare_stage(a, b, "decode", 0.10, KNOWN, None, 1.0).verdict is Verdict.NEGLIGIBLE
    wide = Margin(3.0, True, "")
    assert compare_stage(a, b, "decode", 0.10, wide, None, 1.0).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(("percent", "count"), [(90, 64), (99, 662)])
def test_percentiles_need_the_samples_of_the_binomial_rule(percent: float, count: int) -> None:
    assert samples_needed(percent) == count
    one_beyond = (1 - percent / 100) * count * (percent / 100) ** (count - 1) + (percent / 100) ** count
    assert one_beyond <= 0.01
    assert percentile([1.0] * (count - 1), percent) is None
    assert percentile([1.0] * count, percent) == 1.0


def test_percentiles_are_compared_where_both_runs_have_the_samples() -> None:
    assert compared(1.0, repetitions=63).percentiles == ()
    assert compared(1.2, repetitions=64).percentiles == ((90, 1.0, 1.2),)
