from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices import CPU, Device
from bench.plan import Estimate, earlier_records, estimate, make_plans, time_left
from bench.records import Status
from suites.loader import load_suite
from tests.bench import builders
from tests.bench.fake_workload import write_suite

GPU = Device("cuda:0", "NVIDIA H100", "0000:01:00.0", 132, 80)


def test_every_device_gets_every_cell_in_the_order_of_the_suite(tmp_path: Path) -> None:
    suite = load_suite(str(write_suite(tmp_path, ["b", "a"])))
    plans = make_plans(suite, [GPU, CPU], tmp_path / "results")
    assert [plan.device for plan in plans] == [GPU, CPU]
    for plan in plans:
        assert [cell.axes["behaviour"] for cell in plan.cells] == ["b", "a"]
        assert len(plan.estimates) == 2


def test_what_was_measured_here_before_is_the_estimate(tmp_path: Path) -> None:
    cell = builders.cell()
    builders.write(builders.run([cell]), [builders.record(cell)], tmp_path)
    assert estimate(cell, earlier_records(tmp_path, CPU), 1.0) == Estimate(2.0, 2**30, rough=False)


def test_another_device_tells_nothing(tmp_path: Path) -> None:
    cell = builders.cell()
    builders.write(builders.run([cell]), [builders.record(cell)], tmp_path)
    assert earlier_records(tmp_path, GPU) == {}


def test_a_cell_like_those_measured_is_guessed_from_them() -> None:
    known = builders.record(builders.cell(1))
    assert estimate(builders.cell(2), {known.cell.key: known}, 1.0) == Estimate(2.0, 2**30, rough=True)


def test_a_cell_like_none_is_a_rough_guess_longer_than_its_time_budget() -> None:
    guess = estimate(builders.cell(), {}, 30.0)
    assert guess.rough
    assert guess.seconds > 30.0


def test_the_newest_run_wins_and_failures_and_broken_runs_are_passed_over(tmp_path: Path) -> None:
    cell = builders.cell()
    for name, elapsed, status in [("1", 1.0, Status.OK), ("2", 5.0, Status.OK), ("3", 9.0, Status.TIMEOUT)]:
        record = builders.record(cell, status=status).model_copy(update={"elapsed_seconds": elapsed})
        builders.write(builders.run([cell], name), [record], tmp_path)
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "run.json").write_text("{")
    assert earlier_records(tmp_path, CPU)[cell.key].elapsed_seconds == 5.0


@given(st.lists(st.floats(0.1, 100), min_size=1), st.floats(0.1, 10))
def test_time_left_falls_from_all_to_nothing_and_learns_the_machines_pace(
    seconds: list[float], pace: float
) -> None:
    plan = [Estimate(each, 0, rough=True) for each in seconds]
    taken = [pace * each for each in seconds]
    assert time_left(plan, []) == pytest.approx(sum(seconds))
    assert time_left(plan, taken) == 0
    assert time_left(plan, taken[:1]) == pytest.approx(pace * sum(seconds[1:]))
