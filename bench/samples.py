"""Samples of a cell, by stage and clock."""

import statistics
from collections.abc import Iterable

from bench.records import Sample


def top_level_stages(samples: Iterable[Sample]) -> list[str]:
    """Return the stages without a dot in their name that were timed, in order."""
    return list(dict.fromkeys(s.stage for s in samples if not s.warmup and "." not in s.stage))


def seconds_of(samples: Iterable[Sample], stage: str) -> list[float]:
    """Return the wall-clock seconds of the timed repetitions."""
    return [sample.seconds for sample in samples if sample.stage == stage and not sample.warmup]


def witness_of(samples: Iterable[Sample], stage: str) -> list[float]:
    """Return the second clock's seconds: the device's where it has a clock, else processor time.

    Empty unless every repetition has one.
    """
    timed = [sample for sample in samples if sample.stage == stage and not sample.warmup]
    found = [s.cpu_seconds if s.device_seconds is None else s.device_seconds for s in timed]
    return [seconds for seconds in found if seconds] if all(found) else []


def median_seconds(samples: Iterable[Sample], stage: str) -> float | None:
    """Return the median wall-clock time of a stage; None where it was not timed."""
    seconds = seconds_of(samples, stage)
    return statistics.median(seconds) if seconds else None
