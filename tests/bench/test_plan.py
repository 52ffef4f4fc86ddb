from pathlib import Path

import pytest

from bench.costs import Evidence, Limits, spent_of
from bench.devices import CPU, Device
from bench.plan import Estimate, Plan, earlier_spent, estimate, make_plans
from bench.records import Status
from bench.survey import Foreseen, Span
from suites.loader import load_suite
from tests.bench import builders
from tests.bench.fake_workload import write_suite

GPU = Device("cuda:0", "NVIDIA H100", "0000:01:00.0", 132, 80)
LIMITS = Limits(min_samples=5, time_budget_seconds=1.0, timeout_seconds=60.0, warmups=1)


def test_every_device_gets_every_cell_in_the_order_of_the_suite(tmp_path: Path) -> None:
    suite = load_suite(str(write_suite(tmp_path, ["b", "a"])))
    plans = make_plans(suite, [GPU, CPU])
    assert [plan.device for plan in plans] == [GPU, CPU]
    for plan in plans:
        assert [cell.axes["behaviour"] for cell in plan.cells] == ["b", "a"]


def test_another_device_tells_nothing(tmp_path: Path) -> None:
    cell = builders.cell()
    builders.write(builders.run([cell]), [builders.record(cell)], tmp_path)
    assert list(earlier_spent(tmp_path, CPU, {})) == [cell.key]
    assert earlier_spent(tmp_path, GPU, {}) == {}


def test_a_run_with_another_model_tells_nothing(tmp_path: Path) -> None:
    cell = builders.cell()
    builders.write(builders.run([cell], settings={"checkpoint": "a"}), [builders.record(cell)], tmp_path)
    assert list(earlier_spent(tmp_path, CPU, {"checkpoint": "a"})) == [cell.key]
    assert earlier_spent(tmp_path, CPU, {"checkpoint": "b"}) == {}


def test_the_newest_run_wins_and_failures_and_broken_runs_are_skipped(tmp_path: Path) -> None:
    cell = builders.cell()
    for name, seconds, status in [("1", 1.0, Status.OK), ("2", 5.0, Status.OK), ("3", 9.0, Status.TIMEOUT)]:
        record = builders.record(cell, {"end_to_end": [seconds] * 5}, status=status)
        builders.write(builders.run([cell], name), [record], tmp_path)
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "run.json").write_text("{")
    assert earlier_spent(tmp_path, CPU, {})[cell.key].repetition == 5.0


def test_a_cell_that_cannot_run_here_costs_nothing_and_says_why() -> None:
    found = estimate(builders.cell(), Foreseen(obstacle="engine 'graph' needs a GPU"), [], LIMITS)
    assert (found.seconds, found.obstacle, found.status) == (
        0.0,
        "engine 'graph' needs a GPU",
        Status.UNSUPPORTED,
    )


@pytest.mark.parametrize(("needed", "starts"), [(2**30, True), (3 * 2**30, False)])
def test_a_cell_that_surely_does_not_fit_is_not_started(needed: int, starts: bool) -> None:
    foreseen = Foreseen(known=True, repetition=Span(low=1.0, high=1.0), certain_bytes=needed)
    found = estimate(builders.cell(), foreseen, [], LIMITS, free_bytes=2 * 2**30)
    assert (found.obstacle is None) is starts
    if not starts:
        assert found.status is Status.OUT_OF_MEMORY
        assert found.obstacle == (
            "needs at least 3.0 GiB of memory, and 2.0 GiB are free: ask for less at a time"
        )


def test_memory_that_was_seen_is_the_memory_expected() -> None:
    record = builders.record(builders.cell(), resident=123)
    evidence = [Evidence(Foreseen(), spent_of(record))]
    assert estimate(builders.cell(), Foreseen(), evidence, LIMITS).memory_bytes == 123


def test_a_cell_that_its_limit_ends_before_a_repetition_is_done_is_named() -> None:
    def remark(seconds: float) -> str | None:
        foreseen = Foreseen(known=True, repetition=Span(low=seconds, high=seconds), remark="slow")
        return estimate(builders.cell(), foreseen, [], LIMITS).remark

    assert remark(1.0) == "slow"
    assert remark(30.0) == "slow"
    assert remark(100.0) == "slow; likely to be ended at its limit of 60 s"


def test_memory_of_cells_that_are_not_started_is_not_the_peak() -> None:
    def cost(memory: int, obstacle: str | None = None) -> Estimate:
        return Estimate(1.0, memory, rough=False, obstacle=obstacle)

    cells = (builders.cell(0), builders.cell(1))
    assert Plan(CPU, cells, (cost(5), cost(9, "too large"))).memory_bytes == 5
