"""Plan: the cells of a run, and what they cost in time and memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autogaze.errors import InputError
from bench import journal
from bench.costs import Evidence, Expected, Limits, Spent, expected, spent_of
from bench.devices import Device
from bench.records import AxisValue, Cell, Record, Run, Status
from bench.survey import Foreseen
from suites.loader import Suite

_ROUGH_MEMORY_BYTES = 2 * 2**30
"""Guess for a process with torch and the model in it, where nothing is known."""
_HISTORY = 20
"""Newest runs that are looked through for an estimate."""
_MODELS = ("checkpoint", "revision", "task_checkpoint", "task_revision")
"""Settings without which times of another run say nothing."""
_GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """What one cell is expected to cost."""

    seconds: float
    memory_bytes: int
    """Resident set on a CPU, device memory on a GPU."""
    rough: bool
    """Whether that very cell was never measured here."""
    low: float = 0.0
    high: float = 0.0
    """Seconds it should take at least and at most."""
    samples: int = 0
    """Timed repetitions."""
    obstacle: str | None = None
    """Why it is not started; None where it is."""
    status: Status = Status.UNSUPPORTED
    """What its record says where it is not started."""
    remark: str | None = None
    """What a reader should know before it is started."""


@dataclass(frozen=True)
class Plan:
    """The cells of one run, on one device."""

    device: Device
    cells: tuple[Cell, ...]
    estimates: tuple[Estimate, ...] = ()
    """One a cell; empty where nobody has looked ahead."""
    left_out: int = 0
    """Cells that what was typed would make, and that mean nothing."""
    others: float = 0.0
    """Share of the CPUs that other programs had while costs were estimated."""
    start_seconds: float = 0.0
    """Before the first cell: importing what cells need, looking ahead."""

    @property
    def seconds(self) -> float:
        """Expected time of the whole run, but for drawing its report."""
        return self.start_seconds + sum(estimate.seconds for estimate in self.estimates)

    @property
    def low(self) -> float:
        """What the whole run should take at least."""
        return self.start_seconds + sum(estimate.low for estimate in self.estimates)

    @property
    def high(self) -> float:
        """What the whole run should take at most."""
        return self.start_seconds + sum(estimate.high for estimate in self.estimates)

    @property
    def memory_bytes(self) -> int:
        """Expected peak of the cells that are started: they run one after another."""
        started = [estimate for estimate in self.estimates if estimate.obstacle is None]
        return max((estimate.memory_bytes for estimate in started), default=0)


def cells_of(suite: Suite) -> tuple[Cell, ...]:
    """Return the cells of a suite, in its order."""
    return tuple(Cell(workload=point.workload, axes=dict(point.axes)) for point in suite.points)


def make_plans(suite: Suite, devices: Iterable[Device]) -> list[Plan]:
    """Return one plan for each device, without estimates."""
    cells = cells_of(suite)
    return [Plan(device, cells, left_out=suite.left_out) for device in devices]


def estimate(
    cell: Cell,
    foreseen: Foreseen,
    evidence: Sequence[Evidence],
    limits: Limits,
    free_bytes: int | None = None,
) -> Estimate:
    """Return what ``cell`` is expected to cost, from what is foreseen and what like cells have cost here."""
    memory = foreseen.memory_bytes or _ROUGH_MEMORY_BYTES
    if foreseen.obstacle is not None:
        return Estimate(0.0, 0, rough=False, obstacle=foreseen.obstacle)
    if free_bytes is not None and foreseen.certain_bytes > free_bytes:
        sentence = (
            f"needs at least {foreseen.certain_bytes / _GIB:.1f} GiB of memory, and "
            f"{free_bytes / _GIB:.1f} GiB are free: ask for less at a time"
        )
        return Estimate(
            0.0, foreseen.certain_bytes, rough=False, obstacle=sentence, status=Status.OUT_OF_MEMORY
        )
    found = expected(cell, foreseen, evidence, limits)
    peaks = [each.spent.memory_bytes for each in evidence if each.cell.key == cell.key]
    return Estimate(
        seconds=found.seconds,
        memory_bytes=peaks[-1] if peaks else memory,
        rough=found.rough,
        low=found.low,
        high=found.high,
        samples=found.samples,
        remark="; ".join(said for said in (foreseen.remark, _late(found, limits)) if said) or None,
    )


def _late(found: Expected, limits: Limits) -> str | None:
    return f"likely to be ended at its limit of {limits.timeout_seconds:g} s" if found.outlasts else None


def earlier_spent(results: Path, device: Device, settings: dict[str, AxisValue]) -> dict[str, Spent]:
    """Return what every cell that was ``ok`` on ``device`` with the same models took the last time, by cell
    key, the oldest first.

    A run that cannot be read is skipped: an estimate is no reason to refuse a new run.
    """
    found: dict[str, Spent] = {}
    heads = sorted(results.glob(f"*/{journal.RUN_FILE}"), reverse=True) if results.is_dir() else []
    for head in heads[:_HISTORY]:
        try:
            run, records = journal.read_run(head.parent)
        except InputError:
            continue
        if run.environment.fields.get("device.name") == device.name and _same_models(run, settings):
            found |= {
                each.cell.key: spent_of(each) for each in _newest(records) if each.cell.key not in found
            }
    return dict(reversed(found.items()))


def _newest(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.status is Status.OK]


def _same_models(run: Run, settings: dict[str, AxisValue]) -> bool:
    return all(run.settings.get(name) == settings.get(name) for name in _MODELS)
