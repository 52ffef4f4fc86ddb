"""Work of a cell in two runs: how much of a change in time more or fewer patches explain.

A generation costs ``a + b · steps``. Where a run has cells that differ in the gaze setting alone, and so in
steps, the two are fitted to it for each stage, and a change of steps then has a price. Where it has not, the
price lies between nothing (b = 0) and all of it (a = 0): time that grew by more than the work did is slower
work whatever a and b are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.records import Cell, Record, Status
from bench.samples import median_seconds

COUNTERS = ("decode_steps", "selected_patches", "flops", "bytes")
"""Counters of work, the one that explains most first."""
_STEPS = COUNTERS[:2]
_SETTING = "setting"
"""The axis that cells of one fit differ in."""
_FEWEST = 3
"""Different numbers of steps that a line is fitted through."""
_MISFIT = 0.10
"""Share by which no cell may lie off the line."""
_REACH = 1.5
"""How far beyond the fitted numbers of steps a line is believed."""


@dataclass(frozen=True)
class Line:
    """Seconds of a stage against steps: ``a + b · steps``."""

    a: float
    b: float
    fewest: float
    most: float
    """Steps between which it was fitted."""

    def price(self, before: float, after: float) -> float | None:
        """Return the time of ``after`` steps over that of ``before``; None far outside of the fit."""
        if not all(self.fewest / _REACH <= steps <= self.most * _REACH for steps in (before, after)):
            return None
        return (self.a + self.b * after) / (self.a + self.b * before)


@dataclass(frozen=True)
class WorkChange:
    """What a change of work does to the time of a stage, as a factor between two ends."""

    counter: str
    a: float
    b: float
    least: float
    most: float
    """Equal where a line was fitted."""

    def __str__(self) -> str:
        return f"{self.counter} went from {self.a:g} to {self.b:g}"

    @property
    def fitted(self) -> bool:
        return self.least == self.most


def work_change(a: Record, b: Record, stage: str, of_run: Sequence[Record] = ()) -> WorkChange | None:
    """Return what the change of work between two records does to a stage; None where there is none.

    ``of_run`` are the records of A's run, through which a line is fitted where they allow it.
    """
    changed = {
        name: b.counters[name] / a.counters[name]
        for name in COUNTERS
        if a.counters.get(name) and b.counters.get(name) and a.counters[name] != b.counters[name]
    }
    if not changed:
        return None
    name = next(iter(changed))
    least, most = min(1.0, *changed.values()), max(1.0, *changed.values())
    before, after = a.counters[name], b.counters[name]
    line = fit(a.cell, stage, name, of_run) if name in _STEPS else None
    if line and (price := line.price(before, after)):
        least = most = price
    return WorkChange(name, before, after, least, most)


def fit(cell: Cell, stage: str, counter: str, records: Sequence[Record]) -> Line | None:
    """Return the line through the cells that differ from ``cell`` in the setting alone; None where these are
    too few, or lie on none."""
    points = {
        record.counters[counter]: seconds
        for record in records
        if record.status is Status.OK
        and _but_setting(record.cell) == _but_setting(cell)
        and counter in record.counters
        and (seconds := median_seconds(record.samples, stage)) is not None
    }
    if len(points) < _FEWEST:
        return None
    steps = np.array([*points.keys()], dtype=float)
    times = np.array([*points.values()], dtype=float)
    # Each equation over its time: what counts is the share by which the line is off.
    rows = np.stack([1 / times, steps / times], axis=1)
    intercept, slope = np.linalg.lstsq(rows, np.ones(len(points)), rcond=None)[0]
    misfit = np.abs(rows @ np.array([intercept, slope]) - 1).max()
    if intercept < 0 or slope < 0 or misfit > _MISFIT:
        return None
    return Line(float(intercept), float(slope), float(steps.min()), float(steps.max()))


def _but_setting(cell: Cell) -> tuple[str, Mapping[str, object]]:
    return cell.workload, {name: value for name, value in cell.axes.items() if name != _SETTING}
