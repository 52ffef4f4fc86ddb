from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.compare import compare
from reports import print_comparison
from tests.reports.fake_run import PLAN, cell, ok_record, run_of, usual_records, write_run

CELLS = [cell(setting, chunk) for setting, chunk in PLAN]


def printed(a: Path, b: Path) -> str:
    stream = StringIO()
    print_comparison(compare(a, b), Console(file=stream, width=100))
    return stream.getvalue()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_run(tmp_path, run_of(CELLS, run_id="base"), usual_records())


def test_a_slower_cell_is_named_with_its_stages(base: Path, tmp_path: Path) -> None:
    records = [ok_record(which, speed=0.6 if place == 1 else 1.0) for place, which in enumerate(CELLS)]
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records))
    assert "✗ ratio_0.25, chunk 16: gaze takes" in screen
    assert "B is worse beyond the tolerance of 10 % in 1 of 10 cells." in screen
    assert max(map(len, screen.splitlines())) <= 100


def test_like_runs_have_nothing_worse(base: Path, tmp_path: Path) -> None:
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), usual_records()))
    assert "Nothing is worse beyond the tolerance of 10 %." in screen
    assert "slower" not in screen


def test_a_cell_without_a_result_is_a_row_with_both_statuses(base: Path, tmp_path: Path) -> None:
    records = [ok_record(which) for which in CELLS]
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records))
    assert screen.count("not compared") == 3
    assert "invalid → ok" in screen
    assert "– → ok" in screen
