"""The run folder: written so that whatever was measured survives a kill, read back into records.

``run.json`` is written whole, beside its place, and renamed into it. ``journal.jsonl`` is appended to, one
record a line, each flushed to the disk before the next cell starts; only its last line can ever be torn.
"""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autogaze.errors import InputError
from autogaze.files import write_text
from bench.records import SCHEMA_VERSION, Record, Run, Status

RUN_FILE = "run.json"
JOURNAL_FILE = "journal.jsonl"

Document = dict[str, Any]


@dataclass(frozen=True)
class Migration:
    """Turns the documents of one schema version into those of the next."""

    run: Callable[[Document], Document]
    record: Callable[[Document], Document]


def _as_it_is(document: Document) -> Document:
    return document


MIGRATIONS: dict[int, Migration] = {
    1: Migration(run=_as_it_is, record=_as_it_is),  # processor time was added, which may be missing
    2: Migration(run=_as_it_is, record=_as_it_is),  # and instructions
}
"""Older schema version to the step to the next one; every version that can be read has an entry."""


def utc_now() -> str:
    """Return the present moment in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_id(suite: str, device_slug: str) -> str:
    """Return a new name for a run: when, what, where, and four digits against collisions."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{suite}-{device_slug}-{secrets.token_hex(2)}"


def check_writable(folder: Path) -> None:
    """Make ``folder`` and try to write in it; raises ``InputError`` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"output folder {folder} cannot be written ({error.strerror}): name one that can with OUT="
        ) from error


def create(run: Run, parent: Path) -> Path:
    """Make the folder of a new run, with its head in it; return the folder.

    The head comes last: a run that can be found can be finished. Raises ``InputError`` where the disk takes
    no more.
    """
    check_writable(parent)
    folder = parent / run.id
    try:
        folder.mkdir()
        (folder / JOURNAL_FILE).touch()
        write_text(folder / RUN_FILE, run.model_dump_json(indent=2) + "\n")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(
            f"folder {folder} of the run cannot be made ({error.strerror}): start it again, or name another "
            "one with OUT="
        ) from error
    return folder


@contextmanager
def appending(folder: Path) -> Iterator[Callable[[Record], None]]:
    """Open the journal of ``folder``; give a function that adds a record and returns when it is on the disk.

    A torn last line is dropped first, or the next record would be glued to it. Raises ``InputError`` while
    another process writes the same journal, and for one that may not be written. So does the function given,
    where the disk takes no more: the journal then ends with the record before.
    """
    with _writable(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"run {folder} is being written by another process: wait for it, or stop it"
            ) from error
        file.truncate(file.read().rfind(b"\n") + 1)

        def append(record: Record) -> None:
            whole = file.seek(0, os.SEEK_END)
            try:
                _write_all(file, record.model_dump_json().encode() + b"\n")
                os.fsync(file.fileno())
            except OSError as error:
                with suppress(OSError):
                    file.truncate(whole)
                raise InputError(
                    f"record of cell {record.cell.key} cannot be written to {folder} ({error.strerror}): "
                    f"make room, and finish the run with RESUME={folder.name}; the cells before are kept"
                ) from error

        yield append


def _write_all(file: FileIO, content: bytes) -> None:
    """Write through no buffer, which would try again when it is closed; a disk that fills takes a part."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) or 0 :]


def _writable(folder: Path) -> FileIO:
    try:
        return (folder / JOURNAL_FILE).open("r+b", buffering=0)
    except OSError as error:
        raise InputError(
            f"run {folder} cannot be written ({error.strerror}): let its owner finish it, or start a new run"
        ) from error


def read_run(folder: Path) -> tuple[Run, list[Record]]:
    """Read a run folder: its head, and the newest record of each cell in the order of the plan.

    Older schemas are migrated. Raises ``InputError`` for a folder that is no run, a newer schema, or a broken
    file.
    """
    version, run = read_head(folder)
    newest: dict[str, Record] = {}
    for number, line in enumerate(_whole_lines(folder / JOURNAL_FILE), start=1):
        try:
            record = Record.model_validate(_migrated(json.loads(line), version, "record"))
        except ValueError as error:
            raise InputError(
                f"line {number} of {folder / JOURNAL_FILE} is not a record ({_complaint(error)}): "
                f"remove that line to read the rest"
            ) from error
        newest[record.cell.key] = record
    planned = [newest.pop(cell.key) for cell in run.cells if cell.key in newest]
    return run, planned + list(newest.values())


def read_head(folder: Path) -> tuple[int, Run]:
    """Read ``run.json`` alone: the schema version it was written in, and the run in the present schema."""
    try:
        document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        version = int(document["schema_version"])
    except OSError as error:
        raise InputError(
            f"{folder} is not a run: it has no readable {RUN_FILE}; name a folder under results/"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / RUN_FILE} is not the head of a run: name another folder under results/"
        ) from error
    if version > SCHEMA_VERSION:
        raise InputError(
            f"run {folder} has schema version {version}, newer than {SCHEMA_VERSION}, the newest known here: "
            f"update this project"
        )
    try:
        return version, Run.model_validate(_migrated(document, version, "run"))
    except ValidationError as error:
        raise InputError(
            f"{folder / RUN_FILE} does not fit its schema ({_complaint(error)}): measure again"
        ) from error


def unfinished(run: Run, records: Sequence[Record], retry: bool = False) -> list[int]:
    """Return the places in ``run.cells`` of those still to be measured; ``retry`` adds failures."""
    again = {Status.FAILED, Status.TIMEOUT} if retry else set()
    done = {record.cell.key for record in records if record.status not in again}
    return [place for place, cell in enumerate(run.cells) if cell.key not in done]


def _whole_lines(path: Path) -> list[bytes]:
    """Return the complete lines of the journal; what follows the last newline was torn by a kill."""
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): let its owner permit it, or name another run"
        ) from error


def _migrated(document: Document, version: int, kind: str) -> Document:
    for step in range(version, SCHEMA_VERSION):
        if step not in MIGRATIONS:
            raise InputError(f"schema version {version} cannot be read any more: measure again")
        document = getattr(MIGRATIONS[step], kind)(document)
    return document


def _complaint(error: ValueError) -> str:
    """Return the first thing that is wrong with a document, and where: ``status: Field required``."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
