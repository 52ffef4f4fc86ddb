"""Nothing that was finished is lost, whatever is killed and whenever, and whatever the disk takes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import journal, runner
from bench.devices import CPU
from bench.plan import make_plans
from bench.records import Status
from suites.loader import load_suite
from suites.workload import Inputs
from tests.bench.crashes import Drivers, Ordeal, Toll, open_drivers, ordeals

REPOSITORY = Path(__file__).parents[2]
SUITE = """
version = 1
description = "cells that have a process each, and cells that share one and keep arrays"
time_budget_seconds = 1e-9
min_samples = 3
timeout_seconds = 60

[workloads]
alone = "tests.bench.fake_workload:Fake"
sharing = "tests.bench.fake_workload:Sharing"

[[cells]]
workload = "alone"
behaviour = ["good", "print", "another"]

[[cells]]
workload = "sharing"
behaviour = ["good", "print", "another"]
"""

RECORD_BYTES = 4000
"""About as long as the record of such a cell is."""


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    with open_drivers(REPOSITORY) as drivers:
        yield drivers


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[], Path]:
    """Give a function that makes the folder of a run of which nothing is measured."""
    path = tmp_path / "small.toml"
    path.write_text(SUITE, encoding="utf-8")
    suite = load_suite(str(path))
    (plan,) = make_plans(suite, [CPU])
    head = runner.head_of(suite, plan, Inputs(), ("bench", "run"))

    def make() -> Path:
        return journal.create(head.model_copy(update={"id": journal.run_id("small", "cpu")}), tmp_path)

    return make


@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 10), pytest.param(1, 50, marks=pytest.mark.exhaustive)], ids=["ten", "fifty"]
)
def test_kills_at_random_moments_cost_no_finished_cell_and_leave_no_broken_file(
    new_run: Callable[[], Path], drivers: Drivers, seed: int, kills: int
) -> None:
    toll = ordeals(new_run, drivers, seed, kills)
    print(toll)
    assert sum(toll.kills.values()) >= kills
    assert all(toll.kills.values())
    assert toll.is_nothing(), f"{toll}: {toll.lost + toll.broken + toll.survivors + toll.unfinished}"


@pytest.mark.parametrize("records", [0, 2])
def test_a_disk_that_takes_no_more_ends_the_run_in_a_sentence_and_it_can_be_finished(
    new_run: Callable[[], Path], drivers: Drivers, records: int
) -> None:
    """A limit on the size of files: the kernel writes a part of a record, and then refuses."""
    folder = new_run()
    # More than the records, a few kilobytes each, that fit; less than one more.
    drivers.start(folder, largest_file=100 + records * RECORD_BYTES)
    heard = drivers.rest()
    assert heard[-1] == "ended 1"
    assert "error InputError record of cell" in heard[-2]
    assert "(File too large): make room, and finish the run with RESUME=" in heard[-2]
    told = [line.partition(" ")[2] for line in heard if line.startswith("end ")]
    before = journal.read_run(folder)[1]
    assert [record.cell.key for record in before] == told
    assert (len(told) > 0) is (records > 0)
    assert len(told) < 6
    toll = Toll()
    Ordeal(folder, drivers, toll, told={record.cell.key: record for record in before}).finish()
    assert toll.is_nothing(), str(toll)
    assert {record.status for record in journal.read_run(folder)[1]} == {Status.OK}
