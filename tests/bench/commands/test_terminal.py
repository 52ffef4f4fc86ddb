import io

import pytest
from rich.console import Console

from bench.commands.terminal import common_axes, describe_cell, outcome, print_plan, spoken_range, spoken_time
from bench.devices import CPU
from bench.plan import Estimate, Plan
from bench.records import Cell, Status
from tests.bench import builders


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3900, "1 h 05 min"),
    ],
)
def test_times_are_spoken_as_people_do(seconds: float, spoken: str) -> None:
    assert spoken_time(seconds) == spoken


def test_a_cell_is_described_by_its_values() -> None:
    cell = Cell(workload="gaze", axes={"setting": "ratio_0.25", "chunk": 16})
    assert describe_cell(cell) == "gaze ratio_0.25 chunk=16"


def test_what_all_cells_have_in_common_is_not_said_with_each() -> None:
    cells = [
        Cell(workload="gaze", axes={"setting": setting, "chunk": 16})
        for setting in ("task_0.70", "task_0.80")
    ]
    common = common_axes(cells)
    assert [describe_cell(cell, common) for cell in cells] == ["task_0.70", "task_0.80"]
    other = Cell(workload="encode", axes={"setting": "task_0.70", "batch": 2})
    assert describe_cell(cells[0], common_axes([*cells, other])) == "gaze task_0.70 chunk=16"


def test_an_only_cell_is_told_in_full() -> None:
    cell = Cell(workload="gaze", axes={"chunk": 16})
    assert describe_cell(cell, common_axes([cell])) == "gaze chunk=16"


def test_an_outcome_gives_status_reason_and_time() -> None:
    assert (
        outcome(builders.record(builders.cell(), status=Status.OUT_OF_MEMORY))
        == "out of memory: it broke (2.0 s)"
    )


def plan_text(*estimates: Estimate, width: int = 100) -> str:
    cells = tuple(builders.cell(number) for number in range(len(estimates)))
    stream = io.StringIO()
    out = Console(file=stream, width=width, force_terminal=True, color_system=None)
    print_plan(Plan(CPU, cells, estimates), out)
    return stream.getvalue()


def cost(seconds: float, rough: bool = False, remark: str | None = None) -> Estimate:
    return Estimate(seconds, 2**30, rough, low=seconds / 2, high=seconds * 2, remark=remark)


def test_a_plan_gives_every_cell_and_the_whole_a_range_and_marks_what_was_not_measured() -> None:
    text = plan_text(cost(30.0, rough=True), cost(60.0))
    assert "~15 s to 1 min 00 s" in text
    assert "30 s to 2 min 00 s" in text
    assert "about 1 min 30 s in all (45 s to 3 min 00 s), one cell after another" in text
    assert "peak memory 1.0 GiB" in text
    assert "~ is from work and the pace of this device" in text


def test_a_plan_of_measured_cells_has_no_marks() -> None:
    assert "~" not in plan_text(cost(30.0), cost(60.0))


def test_a_plan_marks_what_cannot_run_here_and_says_why_once() -> None:
    missing = Estimate(0.0, 0, rough=False, obstacle="engine 'graph' captures CUDA graphs")
    large = Estimate(0.0, 0, rough=False, obstacle="needs 9 GiB", status=Status.OUT_OF_MEMORY)
    text = plan_text(cost(30.0), missing, missing, large, missing)
    assert text.count("not here") == 3
    assert "no room" in text
    assert "4 of 5 cells are not started:" in text
    assert "cells 2-3, 5: engine 'graph' captures CUDA graphs" in text
    assert "cell 4: needs 9 GiB" in text


def test_a_plan_says_which_cells_are_slow() -> None:
    text = plan_text(cost(30.0), cost(90.0, remark="slow: 18 times as long as in float32"))
    assert "cell 2: slow: 18 times as long as in float32" in text


@pytest.mark.parametrize(
    ("low", "high", "spoken"),
    [(2.0, 5.0, "2.0 to 5.0 s"), (5.0, 5.0, "5.0 s"), (50.0, 80.0, "50 s to 1 min 20 s")],
)
def test_ranges_are_spoken_as_people_do(low: float, high: float, spoken: str) -> None:
    assert spoken_range(low, high) == spoken


@pytest.mark.parametrize(("others", "said"), [(0.45, True), (0.05, False)])
def test_a_plan_says_what_share_other_programs_have_while_it_is_made(others: float, said: bool) -> None:
    stream = io.StringIO()
    out = Console(file=stream, width=100, force_terminal=True, color_system=None)
    print_plan(Plan(CPU, (builders.cell(),), (cost(1.0),), others=others), out)
    assert ("! other programs use 45% of the CPUs now" in stream.getvalue()) is said
