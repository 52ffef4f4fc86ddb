"""Catalogue of suites: what each can be narrowed by, and what its cells have there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autogaze.errors import InputError, unknown_name
from suites import WORKLOADS
from suites.loader import Suite, load_suite, read_axes, suite_names
from suites.workload import AxisValue

ATTENTION = ("attention", "backend")
"""The axes that ``ATTN=`` is short for: a model's attention backend, and the one that is itself measured."""


_WITHOUT_CLIPS = {name: WORKLOADS[name] for name in ("attention", "kernel", "ceiling")}
"""Workloads that read no video and no checkpoint."""


@dataclass(frozen=True)
class SuiteAxis:
    """An axis of a suite."""

    name: str
    workloads: tuple[str, ...]
    """The workloads of the suite that have it."""
    values: tuple[AxisValue, ...]
    """What its cells have there."""
    known: tuple[AxisValue, ...]
    """What could be asked for; empty where that is no list."""


def axes_of(suite: str) -> dict[str, SuiteAxis]:
    """Return the axes of a suite by name; raises ``InputError`` for an unknown suite."""
    found: dict[str, SuiteAxis] = {}
    points = load_suite(suite).points
    for workload, axes in read_axes(suite).items():
        for name, axis in axes.items():
            before = found.get(name, SuiteAxis(name, (), (), ()))
            of_cells = [
                value
                for point in points
                if point.workload == workload
                for n, value in point.axes
                if n == name
            ]
            found[name] = SuiteAxis(
                name,
                (*before.workloads, workload),
                tuple(dict.fromkeys((*before.values, *of_cells))),
                tuple(dict.fromkeys((*before.known, *axis.known))),
            )
    return found


def overrides_of(suite: str, typed: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the values typed for axes by the axes that a suite has; ``attn`` is short for :data:`ATTENTION`.

    Raises ``InputError`` for an axis that the suite does not have, naming those that it has.
    """
    axes = {name for of_workload in read_axes(suite).values() for name in of_workload}
    name = suite.rpartition("/")[2].removesuffix(".toml")
    found: dict[str, Sequence[str]] = {}
    for axis, values in typed.items():
        meant = [each for each in ATTENTION if each in axes] if axis == "attn" else [axis]
        for each in meant or ATTENTION[:1]:
            if each not in axes:
                raise unknown_name(f"axis of suite {name}", each, axes)
            if found.get(each, values) != values:
                raise InputError(f"axis {each} is given twice, and differently: give it once")
            found[each] = values
    return found


def refuse_in_vain(suite: Suite, given: Sequence[str]) -> None:
    """Raise ``InputError`` for the first input of those ``given``, videos, checkpoints and what belongs to
    them, where no cell of the suite reads any."""
    names = {point.workload for point in suite.points}
    if given and all(suite.workloads[name] == _WITHOUT_CLIPS.get(name) for name in names):
        raise InputError(
            f"no cell of suite {suite.name} reads {given[0]}: leave it out, or take a suite of the models"
        )


@dataclass(frozen=True)
class Entry:
    """A suite as a list of suites shows it."""

    name: str
    version: int
    cells: int
    description: str


def catalogue() -> list[Entry]:
    """Return every suite that comes with the project."""
    suites = [load_suite(name) for name in suite_names()]
    return [Entry(suite.name, suite.version, len(suite.points), suite.description) for suite in suites]
