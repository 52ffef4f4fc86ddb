"""Survey: what the cells of a run need and whether they can run here, told before any of them is started.

It is taken in a process of its own (:func:`bench.isolation.ask`), since it loads torch and may touch a GPU:
workloads say what they foresee (:class:`suites.workload.Foreseeing`), and a few seconds of measuring give the
prices of that on the device as it is now.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.meters.cpu_load import LoadMeter
from bench.records import AxisValue, Cell
from suites.loader import workload_class
from suites.outlook import KINDS, Effort, Efforts, Outlook
from suites.prices import Price, Prices, measure_prices, seconds_of, slow_remarks
from suites.workload import Foreseeing, Inputs

_CGROUP = Path("/sys/fs/cgroup")
_REPETITION_OPERATIONS = 1500
"""What lies between two repetitions, in calls of operators: collected garbage, meters read, outputs
compared."""
_BETWEEN: Efforts = (Effort(operations=_REPETITION_OPERATIONS),)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Frozen):
    """Cells to look ahead at."""

    kind: Literal["survey"] = "survey"
    cells: tuple[Cell, ...]
    targets: dict[str, str]
    """Workload name to ``module:class``."""
    inputs: dict[str, AxisValue]
    """Fields of :class:`suites.workload.Inputs`."""


class Span(_Frozen):
    """Seconds, from least to most."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The time that is as many times the least as the most is times it."""
        return float((self.low * self.high) ** 0.5)


class Foreseen(_Frozen):
    """What is foreseen of one cell."""

    obstacle: str | None = None
    """Why it cannot run here; None where nothing is known to stand in the way."""
    remark: str | None = None
    """What a reader should know before it is started: ``slow: 18 times as long as float32``."""
    known: bool = False
    """Whether its workload foresees anything; if not, the times mean nothing."""
    setup: Span = Span(low=0.0, high=0.0)
    repetition: Span = Span(low=0.0, high=0.0)
    judging: Span = Span(low=0.0, high=0.0)
    between: Span = Span(low=0.0, high=0.0)
    """Between two repetitions."""
    memory_bytes: int = 0
    """Expected peak, the process itself included where it counts."""
    certain_bytes: int = 0
    """Held at the same time without any doubt, likewise."""


class Answer(_Frozen):
    """What is foreseen of each cell, and the memory that is free now on their device."""

    cells: tuple[Foreseen, ...]
    free_bytes: int | None = None
    others: float = 0.0
    """Share of the CPUs that other programs had meanwhile: times are told for that."""


def survey(question: Question) -> Answer:
    """Look ahead; called in the process that was made for it."""
    inputs = Inputs(**question.inputs)  # type: ignore[arg-type]
    outlooks = [_outlook(cell, question.targets, inputs) for cell in question.cells]
    known = [outlook for outlook in outlooks if outlook is not None]
    load = LoadMeter()
    prices, slow = _prices(known, inputs.device) if any(each.repetition for each in known) else ({}, {})
    others = load.share() or 0.0
    base, free = _memory(inputs.device) if known else (0, None)
    return Answer(
        cells=tuple(
            _foreseen(outlook, slow.get(str(cell.axes.get("dtype"))), prices, base)
            for cell, outlook in zip(question.cells, outlooks, strict=True)
        ),
        free_bytes=free,
        others=others,
    )


def _outlook(cell: Cell, targets: dict[str, str], inputs: Inputs) -> Outlook | None:
    """Ask a workload; None where it foresees nothing. What fails here is left to the cell, which says so."""
    try:
        workload: object = workload_class(cell.workload, targets)
        return workload.foresee(cell.axes, inputs) if isinstance(workload, Foreseeing) else None
    except Exception:
        return None


def _prices(outlooks: Iterable[Outlook], device: str) -> tuple[Prices, dict[str, str]]:
    """Measure what the outlooks need prices of, and which of their number formats are slow."""
    import torch

    efforts = [
        effort
        for outlook in outlooks
        for effort in (*outlook.setup, *outlook.repetition, *outlook.judging, *_BETWEEN)
    ]
    kinds = {kind for kind in KINDS for effort in efforts if getattr(effort, kind)}
    dtypes = {effort.dtype for effort in efforts}
    return measure_prices(torch.device(device), dtypes, kinds), slow_remarks(torch.device(device), dtypes)


def _foreseen(outlook: Outlook | None, remark: str | None, prices: Prices, base: int) -> Foreseen:
    if outlook is None:
        return Foreseen()
    if outlook.obstacle is not None:
        return Foreseen(obstacle=outlook.obstacle)
    most = seconds_of(outlook.repetition, prices)
    least = seconds_of(outlook.repetition if outlook.least is None else outlook.least, prices)
    return Foreseen(
        remark=remark,
        known=bool(outlook.repetition),
        setup=_span(seconds_of(outlook.setup, prices)),
        repetition=Span(low=least.best, high=most.usual),
        judging=_span(seconds_of(outlook.judging, prices)),
        between=_span(seconds_of(_BETWEEN, prices)),
        memory_bytes=round(base + outlook.memory_bytes),
        certain_bytes=round(base + outlook.certain_bytes),
    )


def _span(price: Price) -> Span:
    return Span(low=price.best, high=price.usual)


def _memory(device: str) -> tuple[int, int | None]:
    """Return the memory that a process holds before its cell begins, and what is free for all of it."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return 0, int(free)
    import psutil

    # What this process holds is not free any more, and a cell's process holds the same.
    own = int(psutil.Process().memory_info().rss)
    free = int(psutil.virtual_memory().available) + own
    limit = _number(_CGROUP / "memory.max")
    used = _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used + own)
    return own, free


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None
