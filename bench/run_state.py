"""State of a run: finished, running or cut off, and what became of its cells so far."""

import fcntl
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autogaze.errors import InputError
from bench import journal
from bench.records import Record, Run, Status

BAD = (Status.FAILED, Status.TIMEOUT, Status.INVALID)
"""What should not become of a cell. That something cannot run here, or does not fit, is an answer."""

State = Literal["finished", "running", "unfinished", "unreadable"]


@dataclass(frozen=True)
class RunState:
    """A run as a list of runs shows it."""

    folder: Path
    state: State
    run: Run | None = None
    """None where it is unreadable."""
    statuses: Mapping[str, int] | None = None
    """How many cells have each status."""
    reason: str | None = None
    """Why it is unreadable."""

    @property
    def measured(self) -> int:
        """Cells that have a record."""
        return sum((self.statuses or {}).values())

    def __str__(self) -> str:
        if self.run is None:
            return self.state
        planned = len(self.run.cells)
        cells = f"{planned} cell{'' if planned == 1 else 's'}"
        said = (
            f"finished, {cells}" if self.state == "finished" else f"{self.state}, {self.measured} of {cells}"
        )
        bad = {status.value: number for status in BAD if (number := (self.statuses or {}).get(status.value))}
        return ", ".join([said, *(f"{number} {status}" for status, number in bad.items())])


def state_of(folder: Path) -> RunState:
    """Return the state of the run in ``folder``, whatever it is."""
    try:
        run, records = journal.read_run(folder)
    except InputError as error:
        return RunState(folder, "unreadable", reason=str(error))
    statuses = count_statuses(records)
    if not journal.unfinished(run, records):
        return RunState(folder, "finished", run, statuses)
    return RunState(folder, "running" if _is_written(folder) else "unfinished", run, statuses)


def count_statuses(records: Iterable[Record]) -> dict[str, int]:
    """Return how many records have each status, in the order that statuses are listed in."""
    found = Counter(record.status for record in records)
    return {status.value: found[status] for status in Status if found[status]}


def _is_written(folder: Path) -> bool:
    """Return whether a process holds the journal open to append to it."""
    try:
        with (folder / journal.JOURNAL_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
