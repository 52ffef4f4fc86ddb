"""Instructions that this process carried out, all threads together, as the processor counts them.

Other programs take time from a process, and hardly an instruction: where wall clock and processor time move
with the load of the machine, the count stays. It moves where threads wait by spinning, and says nothing of
caches that are missed. Counted in user mode alone, which needs no privilege where
``kernel.perf_event_paranoid`` is 2 or less; many containers forbid the call and many virtual machines have no
counter, and then there is none. See perf_event_open(2) for the numbers in this module.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
"""The first ``perf_event_attr``: type, size, config, sampling (two), read format, flags, others."""
_READING = struct.Struct("=QQQ")
_TIME_ENABLED, _TIME_RUNNING = 1 << 0, 1 << 1
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 1 << 3
_ANY_CPU, _NO_GROUP = -1, -1
_TASKS = Path("/proc/self/task")
_CURES = {
    errno.ENOENT: "this processor, or the virtual machine, offers no such counter",
    errno.EOPNOTSUPP: "this processor, or the virtual machine, offers no such counter",
    errno.EACCES: "the kernel does not let a process count: sysctl kernel.perf_event_paranoid=2",
    errno.EPERM: "the container does not let a process count: permit perf_event_open",
    errno.ENOSYS: "this kernel cannot count events",
    errno.EMFILE: "too many files are open: raise ulimit -n",
}


@dataclass(frozen=True)
class Event:
    """What the kernel is asked to count."""

    kind: int
    number: int


INSTRUCTIONS = Event(kind=0, number=1)
"""Instructions retired."""


class Counter(Protocol):
    """Something that counts what this process does."""

    obstacle: str | None
    """Why there is no count; None where there is one."""

    def count(self) -> int | None:
        """Return the events since the counter was opened, None where they were not all counted."""

    def close(self) -> None:
        """Stop counting."""


class NoCounter:
    """Nothing is counted here."""

    def __init__(self, obstacle: str = "nothing is to be counted") -> None:
        self.obstacle: str | None = obstacle

    def count(self) -> int | None:
        return None

    def close(self) -> None:
        return


class PerfCounter:
    """The kernel's counter: of each thread that there is, and of all that they start."""

    obstacle: str | None = None

    def __init__(self, event: Event = INSTRUCTIONS) -> None:
        """Count from now on; raises ``OSError`` where the kernel does not."""
        self._descriptors: list[int] = []
        try:
            for thread in _threads():
                self._descriptors.append(_opened(event, thread))
        except OSError:
            self.close()
            raise

    def count(self) -> int | None:
        # Two counters may have to share one place in the processor; then each counts part of the time.
        readings = [_READING.unpack(os.read(each, _READING.size)) for each in self._descriptors]
        if any(running < enabled for _, enabled, running in readings):
            return None
        return sum(int(value) for value, _, _ in readings)

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def open_counter(event: Event = INSTRUCTIONS) -> Counter:
    """Return a counter of this process, with an ``obstacle`` where it counts nothing.

    Open it before threads are started that one cannot see, and close it.
    """
    try:
        return PerfCounter(event)
    except OSError as error:
        known = _CURES.get(error.errno or 0)
        return NoCounter(f"{known or 'the kernel does not count'} ({error.strerror})")


def _threads() -> Sequence[int]:
    return [int(name) for name in os.listdir(_TASKS)] if sys.platform == "linux" else [0]


def _opened(event: Event, thread: int) -> int:
    """Have the kernel count ``event`` in a thread; return the descriptor to read it from."""
    number = _SYSTEM_CALLS.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
    reading = _TIME_ENABLED | _TIME_RUNNING
    packed = _ATTRIBUTES.pack(event.kind, _ATTRIBUTES.size, event.number, 0, 0, reading, flags, 0, 0, 0)
    attributes = ctypes.create_string_buffer(packed, len(packed))
    library = ctypes.CDLL(None, use_errno=True)
    arguments = (thread, _ANY_CPU, _NO_GROUP, _CLOSE_ON_EXEC)
    descriptor: int = library.syscall(
        ctypes.c_long(number), attributes, *map(ctypes.c_long, arguments)
    )  # each as long as a register: a variadic call does not widen them
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor
