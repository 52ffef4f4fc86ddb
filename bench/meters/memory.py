"""Peaks of memory over the timed repetitions."""

import sys
from contextlib import suppress
from pathlib import Path

from bench.records import Memory
from suites.workload import Peer

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class MemoryMeter:
    """Keeps the largest peak between each :meth:`begin` and :meth:`end`.

    What happens between repetitions (judging the outputs) does not count. Where the operating system cannot
    reset its resident peak, that peak is the process's whole life's.
    """

    def __init__(self, device: str, peer: Peer | None = None) -> None:
        """Look at the process of ``peer`` where there is one: it does what is measured, this one waits."""
        self._cuda = device if device.startswith("cuda") else None
        self._peer = peer
        self._peaks: dict[str, int] = {}

    def begin(self) -> None:
        """Forget the peaks so far."""
        if self._peer is not None:
            self._peer.forget_peaks()
            return
        with suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)
        if self._cuda is not None:
            import torch

            torch.cuda.reset_peak_memory_stats(self._cuda)

    def end(self) -> None:
        """Note the peaks since :meth:`begin`."""
        if self._peer is not None:
            for name, value in self._peer.peaks().items():
                self._note(name, value)
            return
        self._note("resident_peak", resident_peak())
        if self._cuda is not None:
            import torch

            self._note("device_allocated_peak", torch.cuda.max_memory_allocated(self._cuda))
            self._note("device_reserved_peak", torch.cuda.max_memory_reserved(self._cuda))

    def peaks(self) -> Memory:
        """Return the largest peaks noted, in bytes."""
        return Memory(**self._peaks)

    def _note(self, name: str, value: int | None) -> None:
        if value is not None:
            self._peaks[name] = max(value, self._peaks.get(name, 0))


def resident_peak() -> int | None:
    """Return the peak of this process's resident set in bytes, None where the system does not tell."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
