"""Profile of a cell: one repetition watched after those that are timed, and what its trace says.

On a device: how much of the time it was busy, and how often the host launched something. On a CPU: how many
operators were called.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.meters.activity import activities, busy_seconds, launches, operations, span_of
from bench.meters.profiler import watched, write_trace
from bench.records import TRACE, WHOLE
from suites.workload import Renewing, Workload

_UNITS = {"frames": "frame", "calls": "call"}
"""Counters of work that launches are told by, the first that a workload has."""


def profile_repetition(
    workload: Workload,
    device: str,
    folder: Path,
    name: str,
    timed: Sequence[float],
    counters: Mapping[str, float],
) -> dict[str, Any]:
    """Watch one repetition of a workload, write its trace to ``name`` in ``folder``, and return details of a
    record; ``timed`` are the seconds of the timed repetitions, ``counters`` the work of one."""
    if isinstance(workload, Renewing):
        workload.renew()
    trace = watched(workload.run, device, WHOLE)
    write_trace(trace, folder / name)
    return {TRACE: name, **figures(trace["traceEvents"], statistics.median(timed), counters)}


def figures(
    events: Sequence[Mapping[str, Any]], timed: float, counters: Mapping[str, float]
) -> dict[str, float]:
    """Return what a trace says: seconds and operators; of a device also launches, and how busy it was.

    ``profile.busy_share`` is the device's busy time over the wall-clock time of the watched repetition,
    ``profile.busy_share_timed`` that over the median of the timed ones, ``timed`` seconds: what is missing to
    1 is bound by launches, or by other work of the host.
    """
    found = {"profile.operations": float(operations(events))}
    wall, done = span_of(events, WHOLE), activities(events)
    if wall is not None:
        found["profile.seconds"] = wall
    if done:
        busy = busy_seconds(done)
        found |= {"profile.busy_seconds": busy, "profile.busy_share_timed": busy / timed}
        found |= {"profile.busy_share": busy / wall} if wall else {}
        found |= {"profile.launches": float(launches(events)), "profile.activities": float(len(done))}
    unit = next((unit for unit in _UNITS if counters.get(unit)), None)
    if unit is not None:
        for name in ("operations", "launches", "activities"):
            if f"profile.{name}" in found:
                found[f"profile.{name}_per_{_UNITS[unit]}"] = found[f"profile.{name}"] / counters[unit]
    return found
