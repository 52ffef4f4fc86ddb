"""Compare two recorded runs, cell by cell: is B slower, hungrier or worse than A?

What can be said of a stage's time is in :mod:`bench.recorded`: runs that were made apart can say less than
trees that took turns, and what they cannot say is undecided, which is neither worse nor the same.

In a cell that a peer was measured in, in turns with this project, its time and its memory are shown, but only
what this project does in it can be worse: the peer may have changed, or what it is installed with.

Quality figures and memory have tolerances of their own: the first are not noisy at all, the second never
matters below :data:`MEMORY_FLOOR`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autogaze.errors import InputError, unknown_name
from bench import journal
from bench.calibration import Session, read_calibration
from bench.environment import COMPARABILITY, differences
from bench.margins import Margins, for_records, margins_of, no_margins, time_between
from bench.meters.cpu_load import others_share
from bench.recorded import StageComparison, compare_stage
from bench.records import BUSY, OURS, WHOLE, Record, Run, Status
from bench.samples import median_seconds, top_level_stages
from bench.verdicts import Exit, Verdict, exit_code_of
from bench.work import work_change

TOLERANCE = 0.10
"""Share by which a time or a peak of memory may grow."""
QUALITY_TOLERANCE = 0.01
"""Share by which a quality figure may fall."""
MEMORY_FLOOR = 16 * 2**20
"""Bytes below which more memory is not worse."""
_PEERS = ("gaze", "hand_over", WHOLE)
"""The stages that are a peer's, or hold its time, in a cell that has the stage ``ours`` too."""

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "loss": False, "mae": False, "mse": False}


class NotComparableError(InputError):
    """Two runs that were measured under different conditions."""


@dataclass(frozen=True)
class Change:
    """A figure that is not a time, in both runs: quality, a peak in bytes, joules, a count of work."""

    name: str
    a: float
    b: float
    worse: bool = False


@dataclass(frozen=True)
class CellComparison:
    """One cell in both runs."""

    key: str
    status_a: Status | None
    """None where the run has no record of the cell."""
    status_b: Status | None
    reason_a: str | None = None
    reason_b: str | None = None
    stages: tuple[StageComparison, ...] = ()
    memory: tuple[Change, ...] = ()
    quality: tuple[Change, ...] = ()
    energy: Change | None = None
    """Joules a repetition."""
    work: tuple[Change, ...] = ()
    """Counters that changed: more work is not slower work."""
    same_patches: bool | None = None
    """Whether both chose the same patches; None where one does not know."""
    clips: float | None = None
    """Clips of a repetition, where both count as many."""
    frames: float | None = None
    """Its frames likewise."""
    worse: tuple[str, ...] = ()
    """Why B is worse, a phrase each; empty where it is not."""
    undecided: tuple[str, ...] = ()
    """What could not be decided, and why, a phrase each."""
    disturbed: bool = False
    """Whether other programs took more than a tenth of the CPUs in either run."""


@dataclass(frozen=True)
class Comparison:
    """Run B seen from run A."""

    run_a: Run
    run_b: Run
    tolerance: float
    allowed: tuple[str, ...]
    """Differences that matter and were allowed, each with both values."""
    cells: tuple[CellComparison, ...]
    sessions: tuple[Session, ...] = ()
    """Calibrations of the machine for the suite."""

    @property
    def compared(self) -> tuple[CellComparison, ...]:
        """The cells that are ok in both runs."""
        return tuple(cell for cell in self.cells if cell.stages)

    @property
    def undecided(self) -> tuple[CellComparison, ...]:
        """The cells of which something could not be decided."""
        return tuple(cell for cell in self.cells if cell.undecided)

    @property
    def worse(self) -> tuple[CellComparison, ...]:
        """The cells in which B is worse."""
        return tuple(cell for cell in self.cells if cell.worse)

    @property
    def exit_code(self) -> Exit:
        """1 where something is worse, else 3 where something is undecided or nothing was compared, else 0."""
        return exit_code_of(bool(self.worse), bool(self.undecided) or not self.compared)

    @property
    def mean_ratios(self) -> dict[str, float]:
        """Geometric mean over the cells that are ok in both runs of B over A, for each stage."""
        ratios: dict[str, list[float]] = {}
        for cell in self.compared:
            for stage in cell.stages:
                ratios.setdefault(stage.stage, []).append(stage.ratio.estimate)
        return {stage: math.exp(sum(map(math.log, each)) / len(each)) for stage, each in ratios.items()}

    @property
    def left_out(self) -> tuple[int, int]:
        """How many cells are ok in A alone, and in B alone."""
        ok_a = {cell.key for cell in self.cells if cell.status_a is Status.OK}
        ok_b = {cell.key for cell in self.cells if cell.status_b is Status.OK}
        return len(ok_a - ok_b), len(ok_b - ok_a)


def compare(
    a: Path,
    b: Path,
    tolerance: float = TOLERANCE,
    allow: Collection[str] = (),
    calibrations: Path | None = None,
) -> Comparison:
    """Compare the runs in folders ``a`` and ``b``.

    ``allow`` names differences to accept, as in :data:`bench.environment.COMPARABILITY`: ``driver``,
    ``threads``. ``calibrations`` is the folder of the machines' calibrations, None for the user's.

    Raises ``NotComparableError`` for runs of different suites, on different machines, or with no cell in
    common, and ``InputError`` for other input that cannot be used.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"tolerance {tolerance} must be a share of at least 0, such as {TOLERANCE}")
    run_a, records_a = journal.read_run(a)
    run_b, records_b = journal.read_run(b)
    allowed = _check_comparable(run_a, run_b, allow)
    by_key_a = {record.cell.key: record for record in records_a}
    by_key_b = {record.cell.key: record for record in records_b}
    planned = {cell.key for cell in run_b.cells}
    keys = dict.fromkeys(
        [*(cell.key for cell in run_a.cells), *by_key_a, *(cell.key for cell in run_b.cells), *by_key_b]
    )
    if not by_key_a.keys() & by_key_b.keys():
        raise NotComparableError(
            f"runs {run_a.id} and {run_b.id} have no measured cell in common: measure the same suite and axes"
        )
    calibration = read_calibration(run_b.environment.fields, calibrations)
    sessions = calibration.of(run_b.suite, run_b.suite_version)
    margins = margins_of(sessions, time_between(run_a, run_b), _comparisons(by_key_a, by_key_b))
    cells = tuple(
        compare_cells(
            key,
            by_key_a.get(key),
            by_key_b.get(key),
            tolerance,
            key in planned,
            Context(margins, sessions, records_a),
        )
        for key in keys
    )
    return Comparison(run_a, run_b, tolerance, allowed, cells, sessions)


@dataclass(frozen=True)
class Context:
    """What is known apart from the two records of a cell."""

    margins: Margins = no_margins
    sessions: tuple[Session, ...] = ()
    """Those that the margins come from."""
    records_a: Sequence[Record] = ()
    """Those of A's run."""


def compare_cells(
    key: str,
    a: Record | None,
    b: Record | None,
    tolerance: float = TOLERANCE,
    planned_in_b: bool = True,
    context: Context = Context(),
) -> CellComparison:
    """Compare the records of one cell; where either is missing or not ``ok``, only say so."""
    status_a, status_b = (record.status if record else None for record in (a, b))
    reason_a, reason_b = (record.reason if record else None for record in (a, b))
    if a is None or b is None or status_a != Status.OK or status_b != Status.OK:
        lost = status_a == Status.OK and (b is not None or planned_in_b)
        worse = (f"was ok, is now {(status_b or 'not measured').replace('_', ' ')}",) if lost else ()
        return CellComparison(key, status_a, status_b, reason_a, reason_b, worse=worse)
    stages = _compare_stages(a, b, tolerance, context)
    memory = _compare_memory(a, b, tolerance)
    quality = _compare_quality(a, b)
    judged, judged_memory = _ours_alone(stages, memory)
    return CellComparison(
        key,
        status_a,
        status_b,
        stages=stages,
        memory=memory,
        quality=quality,
        energy=_both("energy", a.energy_joules, b.energy_joules),
        work=tuple(
            Change(name, a.counters[name], b.counters[name])
            for name in a.counters
            if name in b.counters and a.counters[name] != b.counters[name]
        ),
        same_patches=a.patch_hash == b.patch_hash if a.patch_hash and b.patch_hash else None,
        clips=_shared(a, b, "clips"),
        frames=_shared(a, b, "frames"),
        worse=_reasons(judged, (*judged_memory, *quality)),
        undecided=_undecided(judged),
        disturbed=max(others_share(a.samples), others_share(b.samples)) > BUSY,
    )


def _comparisons(a: Mapping[str, Record], b: Mapping[str, Record]) -> int:
    """Return how many stages are compared in all cells together."""
    both = [(a[key], b[key]) for key in a if key in b and a[key].status == b[key].status == Status.OK]
    return sum(len(_stages_of_both(*records)) for records in both)


def _check_comparable(run_a: Run, run_b: Run, allow: Collection[str]) -> tuple[str, ...]:
    """Return the allowed differences; raise ``InputError`` for one that is not allowed."""
    names = {matter.name for matter in COMPARABILITY}
    for name in allow:
        if name not in names:
            raise unknown_name("difference to allow", name, names)
    if (run_a.suite, run_a.suite_version) != (run_b.suite, run_b.suite_version):
        raise NotComparableError(
            f"run {run_a.id} is of suite {run_a.suite} version {run_a.suite_version}, run {run_b.id} "
            f"of suite {run_b.suite} version {run_b.suite_version}: compare runs of the same suite"
        )
    found = differences(run_a, run_b)
    for matter, a, b in found:
        if matter.name not in allow:
            raise NotComparableError(
                f"runs differ in {matter.label}: '{a}' in {run_a.id}, '{b}' in {run_b.id}; "
                f"measure both alike, or allow it with --allow {matter.name}"
            )
    return tuple(f"{matter.label}: {a} → {b}" for matter, a, b in found)


def _stages_of_both(a: Record, b: Record) -> list[str]:
    of_b = top_level_stages(b.samples)
    return [stage for stage in top_level_stages(a.samples) if stage in of_b]


def _compare_stages(a: Record, b: Record, tolerance: float, context: Context) -> tuple[StageComparison, ...]:
    medians = (median_seconds(a.samples, stage) or 0.0 for stage in top_level_stages(a.samples))
    whole = max(medians, default=0.0)
    return tuple(
        compare_stage(
            a,
            b,
            stage,
            tolerance,
            for_records(context.margins(a.cell.key, stage), a, b, context.sessions),
            work_change(a, b, stage, context.records_a),
            whole,
        )
        for stage in _stages_of_both(a, b)
    )


def _compare_memory(a: Record, b: Record, tolerance: float) -> tuple[Change, ...]:
    changes = []
    for name in type(a.memory).model_fields:
        change = _both(name, getattr(a.memory, name), getattr(b.memory, name))
        if change is not None:
            more = change.b - change.a
            changes.append(replace(change, worse=more > MEMORY_FLOOR and more > tolerance * change.a))
    return tuple(changes)


def _compare_quality(a: Record, b: Record) -> tuple[Change, ...]:
    changes = []
    for name, higher_is_better in HIGHER_IS_BETTER.items():
        change = _both(name, a.quality.get(name), b.quality.get(name))
        if change is not None:
            fall = change.a - change.b if higher_is_better else change.b - change.a
            lost = math.isnan(change.b) and not math.isnan(change.a)
            changes.append(replace(change, worse=lost or fall > QUALITY_TOLERANCE * abs(change.a)))
    return tuple(changes)


def _both(name: str, a: float | None, b: float | None) -> Change | None:
    return None if a is None or b is None else Change(name, a, b)


def _shared(a: Record, b: Record, counter: str) -> float | None:
    """Return how many of something a repetition has, where it is as many in both."""
    first, second = a.counters.get(counter), b.counters.get(counter)
    return first if first == second else None


def _ours_alone(
    stages: Sequence[StageComparison], memory: Sequence[Change]
) -> tuple[Sequence[StageComparison], Sequence[Change]]:
    """Return what may be worse: all of it, or what this project did where a peer did the cell."""
    if any(stage.stage == OURS for stage in stages):
        return [stage for stage in stages if stage.stage not in _PEERS], ()
    return stages, memory


def _reasons(stages: Sequence[StageComparison], changes: Sequence[Change]) -> tuple[str, ...]:
    return (
        *(_slower(stage) for stage in stages if stage.verdict is Verdict.SLOWER),
        *(f"{change.name} went from {change.a:.4g} to {change.b:.4g}" for change in changes if change.worse),
    )


def _slower(stage: StageComparison) -> str:
    said = f"{stage.stage} takes {stage.ratio.estimate:.2f}× as long"
    if stage.work is None:
        return said
    least, most = stage.slower_work
    times = f"{least:.2f}×" if stage.work.fitted else f"{least:.2f}× to {most:.2f}×"
    return f"{said}, the same work {times} ({stage.work})"


def _undecided(stages: Sequence[StageComparison]) -> tuple[str, ...]:
    """Say what is undecided, stages for the same reason in one phrase."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        if stage.verdict is Verdict.UNDECIDED:
            found.setdefault(stage.reason, []).append(stage.stage)
    return tuple(f"{', '.join(names)}: {reason}" for reason, names in found.items())
