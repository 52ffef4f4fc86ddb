"""Invocation: the command line as it was typed, with make or without, and commands that work as pasted."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = "autogaze-bench"


@dataclass
class _Typed:
    words: tuple[str, ...] = ()


_TYPED = _Typed()


def remember(words: Sequence[str]) -> None:
    """Remember the words of the command that this process carries out."""
    _TYPED.words = tuple(words)


def typed() -> tuple[str, ...]:
    """Return those words: ``make bench SUITE=smoke``, or ``python -m bench run --suite smoke``."""
    return _TYPED.words


def program() -> tuple[str, ...]:
    """Return what starts this command line from a shell in this folder."""
    if Path(sys.argv[0]).name == _SCRIPT:
        return (_SCRIPT,)
    return (_interpreter(), "-m", "bench")


def by_make() -> bool:
    """Return whether ``make`` started this."""
    return typed()[:1] == ("make",)


def option(name: str) -> str:
    """Return what an option is called where this was typed: ``TIME_BUDGET=`` or ``--time-budget``."""
    return f"{name.upper()}=" if by_make() else f"--{name.replace('_', '-')}"


def again(command: str, target: str, **options: str | Path) -> str:
    """Return a command to paste, in the words that this one was typed in: the make ``target`` with variables,
    or the ``command`` with options; ``options`` are named as in Python."""
    if by_make():
        make = typed()[: 3 if typed()[1:2] == ("-C",) else 1]
        return shlex.join([*make, target, *(f"{name.upper()}={value}" for name, value in options.items())])
    return shlex.join([*program(), command, *_options(options)])


def _options(options: Mapping[str, str | Path]) -> list[str]:
    return [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
        if word
    ]


def _interpreter() -> str:
    """Return the shortest name of this interpreter that a shell finds."""
    ours = os.path.abspath(sys.executable)
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and os.path.abspath(found) == ours:
            return name
    here = os.path.join(os.getcwd(), "")
    return ours.removeprefix(here) if ours.startswith(here) else ours
