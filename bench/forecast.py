"""Forecast of a run: what its cells will cost and which cannot run here, kept right while it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.costs import Evidence, Limits, Spent, spent_of
from bench.fork_server import ForkServer
from bench.isolation import ask
from bench.plan import Estimate, estimate
from bench.records import AxisValue, Cell, Record, Status
from bench.survey import Answer, Foreseen, Question
from suites.loader import workload_class
from suites.workload import Foreseeing

_MOST_EARLIER = 200
"""Cells of earlier runs that are looked at again."""
_PACE_BOUND = 4.0
"""A machine is not taken for slower or faster than it was by more."""


@dataclass
class Forecast:
    """What is expected of the cells of a run; learns from each that is done."""

    limits: Limits
    foreseen: dict[str, Foreseen]
    """By cell key, those of earlier runs included."""
    evidence: list[Evidence]
    free_bytes: int | None = None
    others: float = 0.0
    """Share of the CPUs that other programs had while this was found out."""
    _expected: float = field(default=0.0, init=False)
    _taken: float = field(default=0.0, init=False)

    def estimate(self, cell: Cell) -> Estimate:
        """Return what a cell is expected to cost as far as is known now."""
        found = self.foreseen.get(cell.key, Foreseen())
        return estimate(cell, found, self.evidence, self.limits, self.free_bytes)

    def samples(self, cell: Cell) -> int:
        """Return how many timed repetitions of a cell there will be."""
        return self.estimate(cell).samples

    def learn(self, record: Record) -> None:
        """Hear what became of a cell."""
        if record.status is not Status.OK:
            return
        self._expected += self.estimate(record.cell).seconds
        self._taken += record.elapsed_seconds
        found = self.foreseen.get(record.cell.key, Foreseen())
        self.evidence.append(Evidence(found, spent_of(record), is_recent=True))

    def seconds_left(self, cells: Sequence[Cell]) -> float:
        """Return what the cells to come will take, at the pace of those done."""
        pace = self._taken / self._expected if self._expected else 1.0
        pace = min(_PACE_BOUND, max(1 / _PACE_BOUND, pace))
        return pace * sum(self.estimate(cell).seconds for cell in cells)


def look_ahead(
    cells: Sequence[Cell],
    targets: dict[str, str],
    inputs: dict[str, AxisValue],
    limits: Limits,
    earlier: dict[str, Spent],
    server: ForkServer | None,
) -> Forecast:
    """Ask what the cells need, and those measured earlier that are of the same workloads.

    Nothing is started where no workload foresees anything.
    """
    workloads = {cell.workload for cell in cells}
    known = [spent for spent in earlier.values() if spent.cell.workload in workloads][-_MOST_EARLIER:]
    asked = {cell.key: cell for cell in (*cells, *(spent.cell for spent in known))}
    answer = None
    if any(_foresees(name, targets) for name in workloads):
        answer = ask(Question(cells=tuple(asked.values()), targets=targets, inputs=inputs), server)
    answer = answer or Answer(cells=tuple(Foreseen() for _ in asked))
    foreseen = dict(zip(asked, answer.cells, strict=True))
    evidence = [Evidence(foreseen[spent.cell.key], spent) for spent in known]
    return Forecast(limits, foreseen, evidence, answer.free_bytes, answer.others)


def _foresees(workload: str, targets: dict[str, str]) -> bool:
    found: object = workload_class(workload, targets)
    return isinstance(found, Foreseeing)
