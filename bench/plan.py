"""Plan: the cells of a run, and what they cost in time and memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autogaze.errors import InputError
from bench import journal
from bench.devices import Device
from bench.records import Cell, Record, Status
from suites.loader import Suite

_ROUGH_START_SECONDS = 10.0
"""Guess for importing, loading weights and warming up, where nothing was measured yet."""
_ROUGH_MEMORY_BYTES = 2 * 2**30
"""Guess for a process with torch and the model in it, where nothing was measured yet."""
_HISTORY = 20
"""Newest runs that are looked through for an estimate."""


@dataclass(frozen=True)
class Estimate:
    """What one cell is expected to cost."""

    seconds: float
    memory_bytes: int
    """Resident set on a CPU, device memory on a GPU."""
    rough: bool
    """Whether it is a guess; otherwise it is what the cell took here before."""


@dataclass(frozen=True)
class Plan:
    """The cells of one run, on one device."""

    device: Device
    cells: tuple[Cell, ...]
    estimates: tuple[Estimate, ...]
    """One a cell."""
    left_out: int = 0
    """Cells that what was typed would make, and that mean nothing."""

    @property
    def seconds(self) -> float:
        """Expected time of the whole run."""
        return sum(estimate.seconds for estimate in self.estimates)

    @property
    def memory_bytes(self) -> int:
        """Expected peak: cells run one after another."""
        return max((estimate.memory_bytes for estimate in self.estimates), default=0)


def cells_of(suite: Suite) -> tuple[Cell, ...]:
    """Return the cells of a suite, in its order."""
    return tuple(Cell(workload=point.workload, axes=dict(point.axes)) for point in suite.points)


def make_plans(suite: Suite, devices: Iterable[Device], results: Path) -> list[Plan]:
    """Return one plan for each device; costs are those of earlier runs in ``results`` on that device."""
    cells = cells_of(suite)
    plans = []
    for device in devices:
        earlier = earlier_records(results, device)
        estimates = tuple(estimate(cell, earlier, suite.time_budget_seconds) for cell in cells)
        plans.append(Plan(device, cells, estimates, suite.left_out))
    return plans


def estimate(cell: Cell, earlier: Mapping[str, Record], time_budget_seconds: float) -> Estimate:
    """Return what ``cell`` took before; where it was never measured, what such cells took; else a guess."""
    if cell.key in earlier:
        record = earlier[cell.key]
        return Estimate(record.elapsed_seconds, _peak(record), rough=False)
    alike = [record for record in earlier.values() if record.cell.workload == cell.workload]
    if alike:
        seconds = sum(record.elapsed_seconds for record in alike) / len(alike)
        return Estimate(seconds, max(map(_peak, alike)), rough=True)
    return Estimate(_ROUGH_START_SECONDS + time_budget_seconds, _ROUGH_MEMORY_BYTES, rough=True)


def earlier_records(results: Path, device: Device) -> dict[str, Record]:
    """Return the newest ``ok`` record of every cell measured on ``device``, by cell key.

    A run that cannot be read is skipped: an estimate is no reason to refuse a new run.
    """
    found: dict[str, Record] = {}
    heads = sorted(results.glob(f"*/{journal.RUN_FILE}"), reverse=True) if results.is_dir() else []
    for head in heads[:_HISTORY]:
        try:
            run, records = journal.read_run(head.parent)
        except InputError:
            continue
        if run.environment.fields.get("device.name") == device.name:
            found = {record.cell.key: record for record in records if record.status is Status.OK} | found
    return found


def time_left(plan: Sequence[Estimate], taken: Sequence[float]) -> float:
    """Return the seconds still needed: estimates of the cells to come, corrected by those before.

    ``taken`` holds the seconds of the first ``len(taken)`` cells of ``plan``.
    """
    expected = sum(each.seconds for each in plan[: len(taken)])
    correction = sum(taken) / expected if expected else 1.0
    return correction * sum(each.seconds for each in plan[len(taken) :])


def _peak(record: Record) -> int:
    return record.memory.device_reserved_peak or record.memory.resident_peak or 0
