import subprocess
import sys
from pathlib import Path

import pytest

from autogaze.errors import InputError
from reports import write_all, write_comparable
from tests.reports.fake_run import run_of, write_run

FILES = ["report.md", "report.html", "cells.csv", "stages.csv", "frames.csv"]


def test_the_report_stands_in_the_run_folder(run_folder: Path) -> None:
    assert all((run_folder / name).stat().st_size > 0 for name in FILES)
    assert len(list((run_folder / "plots").glob("*.png"))) == 5
    assert not list(run_folder.glob(".report*")), "nothing half-written is left"


def test_every_file_is_returned_and_a_second_report_replaces_the_first(run_folder: Path) -> None:
    before = (run_folder / "report.md").read_text(encoding="utf-8")
    written = write_all(run_folder)
    assert [path.name for path in written[:5]] == FILES
    assert all(path.exists() for path in written)
    assert (run_folder / "report.md").read_text(encoding="utf-8") == before


def test_a_comparable_report_has_a_row_for_every_cell_of_every_run(comparable_folder: Path) -> None:
    source = (comparable_folder / "report.md").read_text(encoding="utf-8")
    summary = source.partition("## Summary")[2].partition("\n## ")[0]
    for device in ("AMD EPYC 9B45", "NVIDIA H200"):
        assert summary.count(f"| {device}") == 10
    assert "The runs differ in these fields" in source


def test_no_run_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to report on was named"):
        write_comparable([], tmp_path)


def test_a_run_without_a_plan_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, run_of([]), [])
    with pytest.raises(InputError, match="there is nothing to report on"):
        write_all(folder)


def test_a_folder_that_cannot_be_written_is_refused(run_folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match=r"report folder .* cannot be written"):
        write_comparable([run_folder], blocked)


def test_reports_never_load_torch() -> None:
    code = "import sys, reports, reports.writing, reports.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_terminal_table_needs_no_plotting_library() -> None:
    code = "import sys, reports; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
