"""States of runs."""

from pathlib import Path

from bench import journal
from bench.records import Status
from bench.run_state import state_of
from tests.bench import builders

CELLS = [builders.cell(number) for number in range(3)]


def test_a_run_with_a_record_of_every_cell_is_finished(tmp_path: Path) -> None:
    statuses = (Status.OK, Status.FAILED, Status.UNSUPPORTED)
    records = [builders.record(cell, status=status) for cell, status in zip(CELLS, statuses, strict=True)]
    state = state_of(builders.write(builders.run(CELLS), records, tmp_path))
    assert state.state == "finished"
    assert state.statuses == {"ok": 1, "unsupported": 1, "failed": 1}
    assert str(state) == "finished, 3 cells, 1 failed"


def test_a_run_that_was_cut_off_says_how_far_it_came(tmp_path: Path) -> None:
    state = state_of(builders.write(builders.run(CELLS), [builders.record(CELLS[0])], tmp_path))
    assert str(state) == "unfinished, 1 of 3 cells"


def test_a_run_whose_journal_is_held_open_is_running(tmp_path: Path) -> None:
    folder = builders.write(builders.run(CELLS), [builders.record(CELLS[0])], tmp_path)
    with journal.appending(folder):
        assert str(state_of(folder)) == "running, 1 of 3 cells"
    assert state_of(folder).state == "unfinished"


def test_a_run_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    folder = builders.write(builders.run(CELLS), [], tmp_path)
    (folder / "run.json").write_text("{}")
    state = state_of(folder)
    assert state.state == str(state) == "unreadable"
    assert "is not the head of a run" in str(state.reason)
