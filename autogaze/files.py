"""Files and folders replaced whole: a reader finds the old content or the new one, never half of it.

What is new is written beside its place, brought to the disk and renamed. A crash leaves at most a neighbour
with one of the suffixes below, which the next write of the same target clears away.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
"""Suffix of what is being written."""
PREVIOUS = ".previous"
"""Suffix of a folder whose successor takes its place: a folder cannot be renamed onto one that holds
something."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target`` to write a file or a folder at; it takes the place of ``target`` when
    the block ends, and is removed when the block raises.

    Missing parents are made. Raises ``OSError`` where the disk does.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside, previous = (target.with_name(target.name + suffix) for suffix in (PARTIAL, PREVIOUS))
    for leftover in (beside, previous):
        _remove(leftover)
    try:
        yield beside
        for path in sorted(beside.rglob("*")) if beside.is_dir() else [beside]:
            _flush(path)
        if target.is_dir():
            target.rename(previous)
        beside.replace(target)
        _flush(target.parent)
    except BaseException:
        _remove(beside)
        raise
    _remove(previous)


def write_text(path: Path, text: str) -> None:
    """Make ``text`` the content of a file, in UTF-8."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def remove_partial(folder: Path) -> None:
    """Remove what was being written anywhere in ``folder`` when a process was killed; nobody may be writing
    there."""
    for path in sorted(folder.rglob(f"*{PARTIAL}")):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file or folder is on the disk: a rename may reach it before the content does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
