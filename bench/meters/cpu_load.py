"""CPU share of other processes while something was measured; above a limit a record carries a note."""

import os
from collections.abc import Iterable
from pathlib import Path

from bench.records import Sample

OTHERS = "other_programs_cpu_share"
"""Name of the figure in a sample's telemetry: share of the machine's CPU time, 0 to 1."""

_STAT = Path("/proc/stat")
_IDLE, _WAITING = 3, 4
_USER, _SYSTEM = 11, 12
"""Places in a process's ``stat``, counted from behind its name."""
_COLUMNS = 8
"""user, nice, system, idle, iowait, irq, softirq, steal; guest columns are part of user."""


class LoadMeter:
    """Tells what share of the machine's CPU time went to others between :meth:`begin` and :meth:`share`.

    Time stolen by a hypervisor counts as others'. The system counts in hundredths of a second: below a
    tenth of a second there is no telling.
    """

    _SHORTEST = 0.1

    def __init__(self, peer: int | None = None) -> None:
        """Count from now on; the process ``peer`` is none of the others."""
        self._peer = peer
        self.begin()

    def begin(self) -> None:
        """Start counting."""
        self._begun = _moment()
        self._begun_peer = _used_by(self._peer)

    def share(self) -> float | None:
        """Return the others' share since :meth:`begin`, None where it cannot be told."""
        ended = _moment()
        if self._begun is None or ended is None:
            return None
        total, busy, own = (after - before for before, after in zip(self._begun, ended))
        own += _used_by(self._peer) - self._begun_peer
        if total < self._SHORTEST * (os.cpu_count() or 1):
            return None
        return min(1.0, max(0.0, (busy - own) / total))


def others_share(samples: Iterable[Sample]) -> float:
    """Return the others' share over the timed repetitions, longer ones weighing more; 0 if unknown."""
    known = [
        (float(sample.telemetry[OTHERS]), sample.seconds)
        for sample in samples
        if not sample.warmup and OTHERS in sample.telemetry
    ]
    seconds = sum(taken for _, taken in known)
    return sum(share * taken for share, taken in known) / seconds if seconds else 0.0


def _moment() -> tuple[float, float, float] | None:
    """Return the CPU seconds of the machine since its start: all, busy, and those of this process."""
    try:
        columns = _STAT.read_text().split("\n", 1)[0].split()[1 : _COLUMNS + 1]
        ticks = [int(column) for column in columns]
        hertz = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None
    own = os.times()
    total, idle = sum(ticks) / hertz, (ticks[_IDLE] + ticks[_WAITING]) / hertz
    return total, total - idle, own.user + own.system


def _used_by(process: int | None) -> float:
    """Return the CPU seconds of another process since its start, 0 where there is none to look at."""
    if process is None:
        return 0.0
    try:
        # The second field is a name that may hold anything, in brackets.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        hertz = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / hertz
