"""CPU of this machine as far as it decides how long things take: model, cores allowed, clock policy.

Read from the operating system's files; what it does not tell is None.
"""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from bench.records import AxisValue

_CPUINFO = Path("/proc/cpuinfo")
_SYSTEM = Path("/sys/devices/system/cpu")
_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_TURBO = (("cpufreq/boost", "1"), ("intel_pstate/no_turbo", "0"))
"""Files that say whether clocks may rise above the nominal one, and what stands in them where they may."""


def describe_cpu(
    cpuinfo: Path = _CPUINFO, system: Path = _SYSTEM, own_group: Path = _OWN_GROUP, groups: Path = _GROUPS
) -> dict[str, AxisValue]:
    """Return the facts of the CPU by their names in a run's environment."""
    cores = _cores()
    return {
        "cpu.model": _model(cpuinfo),
        "cpu.threads": (os.cpu_count() or 1) if cores is None else len(cores),
        "cpu.cores": None if cores is None else ranges(cores),
        "cpu.quota": _quota(own_group, groups),
        "cpu.governor": _governors(system, cores or ()),
        "cpu.turbo": _turbo(system),
        "cpu.smt": _flag(system / "smt/active", "1"),
    }


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as the system writes lists of cores: ``0-3,8``."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def _cores() -> set[int] | None:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def _model(cpuinfo: Path) -> str:
    for line in (_read(cpuinfo) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _quota(own_group: Path, groups: Path) -> float | None:
    """Return how many CPUs' time the control groups (version 2) allow this process, None for no limit."""
    names = [line[3:] for line in (_read(own_group) or "").splitlines() if line.startswith("0::")]
    if not names:
        return None
    # A group has no more than any that it lies in; the root of a container's view may have a limit, too.
    own = groups / names[0].strip("/")
    limits = []
    for folder in (own, *own.parents):
        granted, _, period = (_read(folder / "cpu.max") or "max").partition(" ")
        if granted != "max":
            limits.append(int(granted) / int(period))
        if folder == groups:
            break
    return min(limits, default=None)


def _governors(system: Path, cores: Iterable[int]) -> str | None:
    """Return the frequency governor of the cores allowed; all of them where they differ."""
    found = {_read(system / f"cpu{core}/cpufreq/scaling_governor") for core in cores}
    return "|".join(sorted(name for name in found if name)) or None


def _turbo(system: Path) -> bool | None:
    found = [_flag(system / name, allowed) for name, allowed in _TURBO]
    return next((flag for flag in found if flag is not None), None)


def _flag(path: Path, is_set: str) -> bool | None:
    text = _read(path)
    return None if text is None else text == is_set


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
