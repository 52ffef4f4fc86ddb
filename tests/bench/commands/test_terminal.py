import io

import pytest
from rich.console import Console

from bench.commands.terminal import BarProgress, describe_cell, outcome, print_plan, spoken_time
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


def test_the_bar_shows_failures_as_they_happen() -> None:
    out, stream = console()
    with BarProgress(out) as bar:
        bar.begin(builders.cell(), 1, 2, 65.0)
        bar.phase("warm-up")
        bar.end(builders.record(builders.cell(), status=Status.FAILED))
    text = stream.getvalue()
    assert "about 1 min 05 s left" in text
    assert "failed: it broke" in text
