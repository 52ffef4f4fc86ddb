"""Names of runs that people type: a folder, ``latest``, ``latest~1``, or a part of an id."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from autogaze.errors import InputError
from bench import journal

_NEWEST = re.compile(r"latest(?:~(\d+))?")
_MOST_NAMED = 6
"""A refusal names no more candidates than this."""


def find_run(name: str, results: Path) -> Path:
    """Return the folder of the run that ``name`` means; runs that are not named by a path lie in ``results``.

    ``latest`` is the run begun last, ``latest~1`` the one before it. Anything else is a path, an id, or a
    beginning, an end or a part of one: the first of these that fits exactly one run.

    Raises ``InputError`` for a name that fits no run or several.
    """
    path = Path(name)
    if name and os.path.isfile(path / journal.RUN_FILE):
        return path
    runs = runs_in(results)
    if match := _NEWEST.fullmatch(name):
        return _newest(name, int(match[1] or 0), runs, results)
    for fits in (str.__eq__, str.startswith, str.endswith, str.__contains__):
        found = [run for run in runs if name and fits(run.name, name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"'{name}' fits {len(found)} runs in {results}: {_listed(found)}; type more of the id"
            )
    if name and os.path.isdir(path):
        journal.read_head(path)  # which says what is wrong with the folder
    raise InputError(
        f"no run is called '{name}': {_there(runs, results)}; name a run's folder, latest, latest~1, or a "
        "part of the id that no other run has"
    )


def runs_in(results: Path) -> list[Path]:
    """Return the folders of the runs in ``results``, the newest first; none where there is no such folder.

    Raises ``InputError`` for a folder that cannot be read.
    """
    try:
        folders = list(results.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"results folder {results} cannot be read ({error.strerror}): name another, "
            "or let its owner permit it"
        ) from error
    runs = [folder for folder in folders if os.path.isfile(folder / journal.RUN_FILE)]
    return sorted(runs, key=_place, reverse=True)


def _place(folder: Path) -> tuple[str, str]:
    try:
        return journal.read_head(folder)[1].created, folder.name
    except InputError:
        return "", folder.name


def _newest(name: str, back: int, runs: Sequence[Path], results: Path) -> Path:
    if back < len(runs):
        return runs[back]
    raise InputError(f"{name} is not there: {_there(runs, results)}; measure first, or name a run's folder")


def _there(runs: Sequence[Path], results: Path) -> str:
    return f"in {results} there {'is' if len(runs) == 1 else 'are'} {_listed(runs)}"


def _listed(runs: Sequence[Path]) -> str:
    if not runs:
        return "no runs"
    more = len(runs) - _MOST_NAMED
    return ", ".join(run.name for run in runs[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
