"""Tolerances: which changes of a figure matter, from ``tolerances.toml`` beside this."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from autogaze.errors import InputError, unknown_name

FILE = Path(__file__).with_name("tolerances.toml")


@dataclass(frozen=True)
class Tolerances:
    """Shares by which a figure may get worse; none of them is noise, which the intervals account for."""

    time: float
    """Of a stage's time."""
    memory: float
    """Of a peak."""
    memory_bytes: float
    """Below which a larger peak is never worse."""
    energy: float
    """Of the joules of a repetition."""
    quality: float
    """Of a figure of quality."""
    stage_share: float
    """Of the whole, which a stage must change by to matter."""


def read_tolerances(path: Path = FILE) -> Tolerances:
    """Read tolerances.

    Raises ``InputError`` for a file that cannot be read, a key that is not known, one that is missing, and a
    value that is no number from 0.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"tolerances {path} cannot be read ({error}): name a TOML file") from error
    names = [field.name for field in fields(Tolerances)]
    for name, value in found.items():
        if name not in names:
            raise unknown_name(f"tolerance in {path}", name, names)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise InputError(f"tolerance {name} in {path} is {value!r}: a number from 0 is needed")
    if missing := [name for name in names if name not in found]:
        raise InputError(f"tolerances {path} lack {', '.join(missing)}: give each a number")
    return Tolerances(**found)
