"""Lines of JSON: one for each item that begins and one for its answer, each on the disk before the next."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]

BEGUN, OK, WRONG, FAILED, SKIPPED = "begun", "ok", "wrong", "failed", "skipped"
"""States of an item. ``wrong`` is an answer that is not what it should be, ``failed`` is none at all."""

BROKE = "broke"
"""Key of an answer that ended its process."""


class Lines:
    """A file of lines that grows."""

    def __init__(self, path: Path) -> None:
        """Open the file to go on with it; a last line that was torn is dropped."""
        path.touch()
        self._file = path.open("r+b")
        self._file.truncate(self._file.read().rfind(b"\n") + 1)
        self._file.seek(0, os.SEEK_END)

    def write(self, item: str, state: str, **answer: Any) -> Line:
        """Add a line, and return it when it is on the disk."""
        line: Line = _plain({"item": item, "state": state, **answer})
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return line

    def close(self) -> None:
        self._file.close()


def read_lines(path: Path) -> list[Line]:
    """Return the whole lines of a file; none where there is no file."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in whole]


def answers(lines: Sequence[Line]) -> dict[str, Line]:
    """Return the answer of each item that has one, in their order."""
    return {line["item"]: line for line in lines if line["state"] != BEGUN}


def left_open(lines: Sequence[Line]) -> str | None:
    """Return the item that was begun last and has no answer; None where all have one."""
    begun = [line["item"] for line in lines if line["state"] == BEGUN]
    return begun[-1] if begun and begun[-1] not in answers(lines) else None


def _plain(value: Any) -> Any:
    """Return what JSON has a word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | None) else str(value)
