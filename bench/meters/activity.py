"""Activity of a device: how busy it was, each launch with the gap before it, from a profiler's trace.

Reads the events of a trace in Chrome's format, as ``torch.profiler`` exports it; its times are microseconds.
"""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Event = Mapping[str, Any]

ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of what a device does."""
_CALLS = ("cuda_runtime", "cuda_driver")
_LAUNCH = re.compile(r"cu(da)?(Launch|GraphLaunch|Memcpy|Memset)")
_OPERATOR = "cpu_op"
_MICRO = 1e-6


@dataclass(frozen=True)
class Activity:
    """One thing that a device did."""

    name: str
    start: float
    """Seconds, from the same moment for all."""
    seconds: float
    gap: float | None
    """Seconds before it in which the device did nothing; None for the first."""


def activities(events: Iterable[Event]) -> list[Activity]:
    """Return what the device did, by its beginning. Streams that overlap leave no gap."""
    found: list[Activity] = []
    end: float | None = None
    for event in sorted(_complete(events, ON_DEVICE), key=lambda each: float(each["ts"])):
        start, seconds = _MICRO * float(event["ts"]), _MICRO * float(event["dur"])
        gap = None if end is None else max(0.0, start - end)
        found.append(Activity(str(event["name"]), start, seconds, gap))
        end = start + seconds if end is None else max(end, start + seconds)
    return found


def busy_seconds(found: Sequence[Activity]) -> float:
    """Return the time in which the device did anything; what overlaps counts once."""
    if not found:
        return 0.0
    end = max(each.start + each.seconds for each in found)
    return end - found[0].start - sum(each.gap or 0.0 for each in found)


def launches(events: Iterable[Event]) -> int:
    """Return how often the host put work into the device's queue: kernels, graphs, copies, fills.

    A runtime's call that calls the driver's is one.
    """
    calls = [event for event in _complete(events, _CALLS) if _LAUNCH.match(str(event["name"]))]
    return len(_outermost(calls))


def operations(events: Iterable[Event]) -> int:
    """Return how many operators of torch the program called; those that one calls inside are part of it."""
    return len(_outermost(_complete(events, (_OPERATOR,))))


def span_of(events: Iterable[Event], name: str) -> float | None:
    """Return the seconds that a mark of that name took on the host; None where it is not in the trace."""
    marks = [event for event in _complete(events, ("user_annotation",)) if event["name"] == name]
    return _MICRO * float(marks[0]["dur"]) if marks else None


def by_place(found: Sequence[Activity], replays: int) -> list[dict[str, Any]]:
    """Return a row for each launch of a replay, in order: its name, and medians over all replays of what it
    took and of the gap before it, in microseconds.

    Raises ``ValueError`` where the replays did not all do the same.
    """
    each, rest = divmod(len(found), replays)
    rows = [found[place * each : (place + 1) * each] for place in range(replays)]
    if rest or any([a.name for a in row] != [a.name for a in rows[0]] for row in rows):
        raise ValueError(f"{len(found)} activities are not {replays} times the same")
    return [
        {
            "name": same[0].name,
            "us": round(statistics.median(a.seconds for a in same) / _MICRO, 3),
            "gap_us": _median_gap(same),
        }
        for same in zip(*rows, strict=True)
    ]


def by_name(found: Sequence[Activity]) -> list[dict[str, Any]]:
    """Return a row for each name, what takes most in all first: how many, and in microseconds what all take,
    the median of one, and the median of the gap before it."""
    groups: dict[str, list[Activity]] = {}
    for each in found:
        groups.setdefault(each.name, []).append(each)
    rows = [
        {
            "name": name,
            "count": len(same),
            "us.all": round(sum(a.seconds for a in same) / _MICRO, 3),
            "us": round(statistics.median(a.seconds for a in same) / _MICRO, 3),
            "gap_us": _median_gap(same),
        }
        for name, same in groups.items()
    ]
    return sorted(rows, key=lambda row: -float(str(row["us.all"])))


def _median_gap(same: Sequence[Activity]) -> float | None:
    gaps = [each.gap for each in same if each.gap is not None]
    return round(statistics.median(gaps) / _MICRO, 3) if gaps else None


def _complete(events: Iterable[Event], categories: Sequence[str]) -> list[Event]:
    return [event for event in events if event.get("ph") == "X" and event.get("cat") in categories]


def _outermost(events: Iterable[Event]) -> list[Event]:
    """Return the events that lie inside no other of the same thread."""
    ends: dict[object, float] = {}
    found = []
    for event in sorted(events, key=lambda each: (float(each["ts"]), -float(each["dur"]))):
        thread, end = (event.get("pid"), event.get("tid")), float(event["ts"]) + float(event["dur"])
        if end > ends.get(thread, float("-inf")):
            found.append(event)
            ends[thread] = end
    return found
