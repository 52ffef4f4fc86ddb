import io
import re

import pytest
from rich.console import Console

from bench.commands.terminal import BarProgress, common_axes, describe_cell, outcome, print_plan, spoken_time
from bench.devices import CPU
from bench.plan import Estimate, Plan
from bench.records import Cell, Status
from tests.bench import builders


def console() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, width=100, force_terminal=True, color_system=None), stream


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


def test_a_plan_shows_every_cell_its_cost_and_marks_guesses() -> None:
    cells = (builders.cell(0), builders.cell(1))
    estimates = (Estimate(30.0, 2**30, rough=True), Estimate(60.0, 2**31, rough=False))
    out, stream = console()
    print_plan(Plan(CPU, cells, estimates), out)
    text = stream.getvalue()
    assert "~30 s" in text
    assert "1 min 00 s" in text
    assert "about 1 min 30 s in all" in text
    assert "peak memory 2.0 GiB" in text
    assert "~ is a rough guess" in text


def test_the_bar_shows_failures_as_they_happen_and_a_reason_once() -> None:
    out, stream = console()
    with BarProgress(out) as bar:
        bar.begin(builders.cell(), 1, 3, 65.0)
        bar.phase("warm-up")
        for number in range(3):
            bar.end(builders.record(builders.cell(number), status=Status.FAILED))
    text = stream.getvalue()
    assert "about 1 min 05 s left" in text
    assert text.count("failed: it broke") == 1
    assert "number=2: failed, for the same reason" in text


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_bar_keeps_the_count_and_the_time_and_cuts_the_name(width: int) -> None:
    stream = io.StringIO()
    out = Console(file=stream, width=width, force_terminal=True, color_system=None)
    cell = Cell(workload="end_to_end", axes={"setting": "ratio_0.75_task_0.70", "dtype": "bfloat16", "x": 1})
    with BarProgress(out) as bar:
        bar.begin(cell, 14, 28, 3900.0)
        bar.phase("warm-up")
        bar.end(builders.record(cell))
    lines = [line for line in re.split(r"[\r\n]", stream.getvalue()) if "left" in line]
    assert lines
    for line in lines:
        assert re.search(r"end_to_end.*…? +[━╺╸ ]{8} 1[34]/28 about 1 h 05 min left", line), line
