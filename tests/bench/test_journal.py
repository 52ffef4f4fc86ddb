import errno
import json
import math
import os
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autogaze.errors import InputError
from bench import journal
from bench.journal import Migration
from bench.records import SCHEMA_VERSION, Status
from tests.bench import builders

CELLS = [builders.cell(number) for number in range(4)]
RECORDS = [builders.record(cell) for cell in CELLS]


def test_what_was_written_reads_back(tmp_path: Path) -> None:
    head = builders.run(CELLS)
    assert journal.read_run(builders.write(head, RECORDS, tmp_path)) == (head, RECORDS)


def test_records_come_in_the_order_of_the_plan(tmp_path: Path) -> None:
    folder = builders.write(builders.run(CELLS), RECORDS[::-1], tmp_path)
    assert journal.read_run(folder)[1] == RECORDS


def test_a_later_record_of_a_cell_replaces_the_earlier(tmp_path: Path) -> None:
    failed = builders.record(CELLS[0], status=Status.FAILED)
    folder = builders.write(builders.run(CELLS[:1]), [failed, RECORDS[0]], tmp_path)
    assert journal.read_run(folder)[1] == [RECORDS[0]]


def test_infinite_quality_survives(tmp_path: Path) -> None:
    record = builders.record(CELLS[0], quality={"psnr": math.inf})
    folder = builders.write(builders.run(CELLS), [record], tmp_path)
    assert journal.read_run(folder)[1][0].quality == {"psnr": math.inf}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_anywhere_it_keeps_the_whole_records_and_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = builders.write(builders.run(CELLS), RECORDS[:3], tmp_path_factory.mktemp("cut"))
    path = folder / journal.JOURNAL_FILE
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    assert journal.read_run(folder)[1] == RECORDS[:kept]
    with journal.appending(folder) as append:
        append(RECORDS[3])
    assert journal.read_run(folder)[1] == [*RECORDS[:kept], RECORDS[3]]


def test_cells_without_a_record_are_unfinished() -> None:
    head = builders.run(CELLS)
    records = [RECORDS[0], builders.record(CELLS[1], status=Status.FAILED)]
    assert journal.unfinished(head, records) == [2, 3]
    assert journal.unfinished(head, records, retry=True) == [1, 2, 3]


def test_two_processes_cannot_write_one_journal(tmp_path: Path) -> None:
    folder = journal.create(builders.run(CELLS), tmp_path)
    with (
        journal.appending(folder),
        pytest.raises(InputError, match="is being written by another process"),
        journal.appending(folder),
    ):
        pass


def test_a_newer_schema_is_refused_by_its_version(tmp_path: Path) -> None:
    folder = rewritten(tmp_path, SCHEMA_VERSION + 1)
    with pytest.raises(InputError, match=f"schema version {SCHEMA_VERSION + 1}, newer than {SCHEMA_VERSION}"):
        journal.read_run(folder)


def test_an_older_schema_without_a_migration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="schema version 0 cannot be read any more"):
        journal.read_run(rewritten(tmp_path, 0))


def test_an_older_schema_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rewritten(tmp_path, 0)
    step = Migration(
        run=lambda document: document | {"schema_version": 1, "suite": "renamed"},
        record=lambda document: document | {"notes": ["migrated"]},
    )
    monkeypatch.setitem(journal.MIGRATIONS, 0, step)
    run, records = journal.read_run(folder)
    assert run.suite == "renamed"
    assert records[0].notes == ("migrated",)


def rewritten(parent: Path, version: int) -> Path:
    """Write a run whose head says it is of another schema version."""
    folder = builders.write(builders.run(CELLS), RECORDS, parent)
    head = folder / journal.RUN_FILE
    head.write_text(json.dumps(json.loads(head.read_text()) | {"schema_version": version}))
    return folder


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is not a run: it has no readable run.json"),
        ("[]", "is not the head of a run"),
        ("{", "not the head of a run"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / journal.RUN_FILE).write_text(content)
    with pytest.raises(InputError, match=sentence):
        journal.read_run(tmp_path)


def test_a_head_that_does_not_fit_its_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / journal.RUN_FILE).write_text(json.dumps({"schema_version": SCHEMA_VERSION}))
    with pytest.raises(InputError, match=r"does not fit its schema \(id: Field required\): measure again"):
        journal.read_run(tmp_path)


def test_a_broken_line_is_refused_by_its_number(tmp_path: Path) -> None:
    folder = builders.write(builders.run(CELLS), RECORDS, tmp_path)
    path = folder / journal.JOURNAL_FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "garbage", *lines[2:]]) + "\n")
    with pytest.raises(InputError, match=r"line 2 of .* is not a record \(Expecting value: line 1 column 1"):
        journal.read_run(folder)


def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .*: name one that can with OUT="):
        journal.create(builders.run(CELLS), tmp_path / "file")


def test_run_names_differ_even_within_a_second() -> None:
    names = {journal.run_id("smoke", "cpu") for _ in range(8)}
    assert len(names) > 1
    assert all(name.split("-")[1:3] == ["smoke", "cpu"] for name in names)


class FullDisk(FileIO):
    """A file on a disk that has so many bytes left."""

    room = 0

    def write(self, content: Any) -> int:
        taken = super().write(bytes(content)[: self.room]) if self.room else 0
        self.room -= taken
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken


@pytest.mark.parametrize("room", [0, 1, 100, len(RECORDS[2].model_dump_json())])
def test_a_disk_that_is_full_costs_the_record_that_finds_no_room_and_none_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    folder = builders.write(builders.run(CELLS), RECORDS[:1], tmp_path)
    disk = FullDisk(folder / journal.JOURNAL_FILE, "r+")
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_writable", lambda folder: disk)
        with journal.appending(folder) as append:
            disk.room = 2**20
            append(RECORDS[1])
            before = (folder / journal.JOURNAL_FILE).read_bytes()
            disk.room = room
            with pytest.raises(InputError, match=r"No space left on device\): make room, and finish the run"):
                append(RECORDS[2])
            assert (folder / journal.JOURNAL_FILE).read_bytes() == before
    assert journal.read_run(folder)[1] == RECORDS[:2]
    with journal.appending(folder) as append:  # there is room again
        append(RECORDS[2])
    assert journal.read_run(folder)[1] == RECORDS[:3]


def test_a_run_whose_head_finds_no_room_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(journal, "write_text", full)
    with pytest.raises(InputError, match=r"cannot be made \(No space left on device\): start it again"):
        journal.create(builders.run(CELLS), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_can_be_found_can_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it was made, it has no head, or a journal too."""

    def killed(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.create(builders.run(CELLS), tmp_path)
    (folder,) = tmp_path.iterdir()
    assert (folder / journal.JOURNAL_FILE).exists()
    with pytest.raises(InputError, match="is not a run"):
        journal.read_head(folder)
