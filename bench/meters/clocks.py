"""Stage clocks: the observer that the measuring process sets on the library."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.meters.instructions import Counter, NoCounter


class DeviceEvent(Protocol):
    """A moment on the device's own time line."""

    def elapsed_time(self, end: Any) -> float:
        """Return the milliseconds from this moment to ``end``."""


class DeviceClock(Protocol):
    """What a device offers for timing."""

    def synchronise(self) -> None:
        """Wait until everything submitted so far is done."""

    def event(self) -> DeviceEvent | None:
        """Mark the present place in the queue; None where the device has no such marks."""


class HostClock:
    """A device that finishes every call before it returns."""

    def synchronise(self) -> None:
        return

    def event(self) -> DeviceEvent | None:
        return None


class CudaClock:
    """A CUDA device, by its events on the current stream."""

    def __init__(self, device: str) -> None:
        import torch

        self._cuda = torch.cuda
        self._device = torch.device(device)

    def synchronise(self) -> None:
        self._cuda.synchronize(self._device)

    def event(self) -> DeviceEvent | None:
        if self._cuda.is_current_stream_capturing():
            return None  # It would become a node of the captured graph.
        event = self._cuda.Event(enable_timing=True)
        event.record(self._cuda.current_stream(self._device))
        return event


@dataclass
class StageTime:
    """What one stage took in one repetition, all its occurrences added up, in seconds."""

    seconds: float = 0.0
    """Wall clock."""
    cpu_seconds: float | None = None
    """Processor time of the process, user and system, all threads; of top-level stages alone."""
    device_seconds: float | None = None
    """Between device events."""
    instructions: int | None = None
    """Of the process, in user mode, all threads; of top-level stages alone, where they can be counted."""


_PART_OF_ITSELF = nullcontext()


@dataclass
class StageClock:
    """Observes one repetition: times every stage and adds up the work counted.

    The device is synchronised at both ends of a top-level stage, one whose name has no dot, and nowhere else:
    the stages inside it are left to overlap as they do when nobody looks. Their device time is that between
    events. A stage entered again inside itself is part of itself.
    """

    device: DeviceClock
    counter: Counter = field(default_factory=NoCounter)
    """Of instructions."""
    counters: dict[str, int] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _cpu_seconds: dict[str, float] = field(default_factory=dict)
    _instructions: dict[str, int | None] = field(default_factory=dict)
    _events: list[tuple[str, DeviceEvent, DeviceEvent]] = field(default_factory=list)
    _open: set[str] = field(default_factory=set)

    def stage(self, name: str) -> AbstractContextManager[None]:
        return _PART_OF_ITSELF if name in self._open else _Occurrence(self, name)

    def _add_cpu_seconds(self, name: str, used: float) -> None:
        self._cpu_seconds[name] = self._cpu_seconds.get(name, 0.0) + used

    def _add_instructions(self, name: str, before: int | None, after: int | None) -> None:
        """Add what an occurrence of a stage took; a stage of which a part was not counted has no count."""
        so_far = self._instructions.get(name, 0)
        if so_far is None or before is None or after is None:
            self._instructions[name] = None
        else:
            self._instructions[name] = so_far + after - before

    def count(self, name: str, amount: int) -> None:
        self.counters[name] = self.counters.get(name, 0) + amount

    def took(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def times(self) -> dict[str, StageTime]:
        """Return the time of every stage, in the order entered; call it once the repetition is over."""
        times = {
            name: StageTime(seconds, self._cpu_seconds.get(name), instructions=self._instructions.get(name))
            for name, seconds in self._seconds.items()
        }
        if self._events:
            self.device.synchronise()
        for name, begin, end in self._events:
            times[name].device_seconds = (times[name].device_seconds or 0.0) + begin.elapsed_time(end) / 1000
        return times


class _Occurrence:
    """A stage, once. A generator would take twice as long, and that in the time of the stages around."""

    __slots__ = ("_begin", "_clock", "_counted_before", "_cpu_before", "_name", "_started", "_top_level")

    def __init__(self, clock: StageClock, name: str) -> None:
        self._clock, self._name, self._top_level = clock, name, "." not in name

    def __enter__(self) -> None:
        clock = self._clock
        clock._open.add(self._name)
        clock._seconds.setdefault(self._name, 0.0)  # Keeps stages in the order in which they were entered.
        if self._top_level:
            clock.device.synchronise()
        self._begin = clock.device.event()
        if self._top_level:
            self._counted_before = clock.counter.count()
            self._cpu_before = time.process_time()
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        clock = self._clock
        end = clock.device.event()
        if self._top_level:
            clock.device.synchronise()
        clock._seconds[self._name] += time.perf_counter() - self._started
        clock._open.remove(self._name)
        if end is not None and self._begin is not None:
            clock._events.append((self._name, self._begin, end))
        if self._top_level:
            clock._add_cpu_seconds(self._name, time.process_time() - self._cpu_before)
            clock._add_instructions(self._name, self._counted_before, clock.counter.count())


def device_clock(device: str) -> DeviceClock:
    """Return the clock of a torch device, ``cpu`` or ``cuda:0``."""
    return CudaClock(device) if device.startswith("cuda") else HostClock()
