import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.costs import Evidence, Limits, Spent, expected, spent_of
from bench.records import Cell, Sample
from bench.survey import Foreseen, Span
from tests.bench import builders

LIMITS = Limits(min_samples=5, time_budget_seconds=2.0, timeout_seconds=100.0, warmups=1)


def span(seconds: float) -> Span:
    return Span(low=seconds, high=seconds)


def foreseen(repetition: float, setup: float = 1.0, judging: float = 0.5) -> Foreseen:
    return Foreseen(known=True, setup=span(setup), repetition=span(repetition), judging=span(judging))


def cell(setting: str, chunk: int = 16, batch: int = 1) -> Cell:
    return Cell(workload="gaze", axes={"setting": setting, "chunk": chunk, "batch": batch})


def spent(which: Cell, repetition: float, setup: float = 1.0, rest: float = 0.5, count: int = 6) -> Spent:
    return Spent(which, setup, repetition, count, rest, memory_bytes=0)


def test_a_cell_takes_its_set_up_its_repetitions_and_its_judging() -> None:
    found = expected(cell("a"), foreseen(repetition=1.0), [], LIMITS)
    assert found.seconds == pytest.approx(1.0 + (1 + 5) * 1.0 + 0.5, rel=1e-3)
    assert found.low < found.seconds < found.high
    assert found.rough


@pytest.mark.parametrize(("seconds", "samples"), [(10.0, 5), (0.4, 5), (0.1, 20), (1e-9, 1000)], ids=str)
def test_samples_are_the_fewest_asked_for_the_time_budget_or_the_most_there_are(
    seconds: float, samples: int
) -> None:
    assert LIMITS.repetitions(seconds) == samples


def test_a_cell_is_not_expected_to_outlive_its_limit() -> None:
    found = expected(cell("a"), foreseen(repetition=1e3), [], LIMITS)
    assert found.seconds == found.high == LIMITS.timeout_seconds


def test_a_cell_measured_before_is_expected_to_take_the_same_with_other_limits() -> None:
    evidence = [Evidence(foreseen(repetition=7.0), spent(cell("a"), repetition=0.5, setup=3.0, rest=2.0))]
    few = Limits(min_samples=2, time_budget_seconds=0.1, timeout_seconds=100.0, warmups=1)
    found = expected(cell("a"), foreseen(repetition=7.0), evidence, few)
    assert found.seconds == pytest.approx(3.0 + (1 + 2) * 0.5 + 2.0, rel=1e-3)
    assert not found.rough


@given(st.floats(0.1, 10), st.floats(0.01, 10))
def test_a_like_cell_scales_by_the_ratio_of_work(pace: float, work: float) -> None:
    measured = Evidence(foreseen(repetition=1.0), spent(cell("a"), repetition=pace))
    once = Limits(min_samples=1, time_budget_seconds=0.0, timeout_seconds=1e9, warmups=0)
    found = expected(cell("b"), foreseen(repetition=work), [measured], once)
    unmeasured = expected(cell("b"), foreseen(repetition=work), [], once)
    low, high = sorted((work, work * pace))
    repetition = found.seconds - unmeasured.seconds + work
    assert low - 1e-2 <= repetition <= high + 1e-2
    # Most of the way to what the pace says.
    assert abs(repetition - work * pace) <= 0.5 * abs(work - work * pace) + 1e-2


def test_the_likest_cell_counts_most() -> None:
    def both(near: float, far: float) -> float:
        evidence = [
            Evidence(foreseen(1.0), spent(cell("b"), repetition=near)),
            Evidence(foreseen(1.0), spent(cell("c", chunk=4, batch=8), repetition=far)),
        ]
        return expected(cell("a"), foreseen(1.0), evidence, LIMITS).seconds

    alone = expected(cell("a"), foreseen(1.0), [], LIMITS).seconds
    assert both(near=10.0, far=0.1) > alone > both(near=0.1, far=10.0)


def test_the_run_that_goes_on_counts_more_than_earlier_ones() -> None:
    earlier = Evidence(foreseen(1.0), spent(cell("b"), repetition=1.0))
    now = Evidence(foreseen(1.0), spent(cell("c"), repetition=4.0), is_recent=True)
    assert expected(cell("a"), foreseen(1.0), [earlier, now], LIMITS).seconds > 6 * 2.5


def test_other_workloads_say_nothing() -> None:
    other = Evidence(foreseen(1.0), spent(Cell(workload="encode", axes={}), repetition=50.0))
    alone = expected(cell("a"), foreseen(1.0), [], LIMITS)
    assert expected(cell("a"), foreseen(1.0), [other], LIMITS).seconds == alone.seconds


def test_a_workload_that_foresees_nothing_is_expected_to_take_what_its_like_took() -> None:
    known = Evidence(Foreseen(), spent(cell("b"), repetition=1.0, setup=2.0, rest=3.0))
    assert expected(cell("a"), Foreseen(), [known], LIMITS).seconds == pytest.approx(2 + 6 + 3)


def test_of_a_cell_of_which_nothing_is_known_the_range_is_wide() -> None:
    found = expected(cell("a"), Foreseen(), [], LIMITS)
    assert found.high > 5 * found.low
    assert found.low > LIMITS.time_budget_seconds


def test_what_a_cell_took_is_read_from_its_record() -> None:
    record = builders.record(builders.cell(), {"end_to_end": [1.0, 3.0, 2.0]})
    before = (
        Sample(index=0, stage="setup", seconds=4.0, warmup=True),
        Sample(index=0, stage="end_to_end", seconds=5.0, warmup=True),
    )
    record = record.model_copy(update={"samples": (*before, *record.samples), "elapsed_seconds": 18.0})
    found = spent_of(record)
    assert (found.setup, found.repetition, found.repetitions, found.rest) == (4.0, 2.0, 4, 3.0)
