"""Compare two runs, cell by cell: is B slower, hungrier or worse than A?

Belief about noise: on a shared machine it comes in bursts and only adds time, so two runs of the same tree
may differ by far more than the interval around their medians says. A stage therefore counts as slower only
when three statistics agree: its median, the whole bootstrap interval around the ratio of medians, and the
ratio of the two fastest repetitions, which bursts hardly reach. A real slowdown of 30 % moves all three by
as much; the default tolerance of 10 % lies between that and what remains of the noise. Only programs that
kept the machine busy all through one run and not the other move all three as well: a change that came with
such a change of load is unclear.

In a cell that a peer was measured in, in turns with this project, its time and its memory are shown, but only
what this project does in it can be worse: the peer may have changed, or what it is installed with.

Quality figures and memory have tolerances of their own: the first are not noisy at all, the second never
matters below :data:`MEMORY_FLOOR`.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from autogaze.errors import InputError, unknown_name
from bench import journal
from bench.environment import COMPARABILITY, differences
from bench.meters.cpu_load import others_share
from bench.records import BUSY, OURS, WHOLE, Record, Run, Status
from bench.statistics import ENOUGH, Ratio, ratio_of_medians, summarise

TOLERANCE = 0.10
"""Share by which a time or a peak of memory may grow."""
QUALITY_TOLERANCE = 0.01
"""Share by which a quality figure may fall."""
MEMORY_FLOOR = 16 * 2**20
"""Bytes below which more memory is not worse."""
LOAD_TOLERANCE = 0.10
"""Share of the CPUs by which other programs may have been busier in one run than in the other."""
_PEERS = ("gaze", "hand_over", WHOLE)
"""The stages that are a peer's, or hold its time, in a cell that has the stage ``ours`` too."""
SHARE_FLOOR = 0.02
"""A stage is only worse when it adds at least this share of the cell's whole time."""

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "loss": False, "mae": False, "mse": False}


class Verdict(StrEnum):
    """What can be said of one stage's time in B, seen from A."""

    FASTER = "faster"
    SAME = "same"
    SLOWER = "slower"
    UNCLEAR = "unclear"
    """The samples allow both "slower" and "not slower" (or the reverse)."""


@dataclass(frozen=True)
class StageComparison:
    """One top-level stage of a cell in both runs; times in seconds, a repetition."""

    stage: str
    median_a: float
    median_b: float
    ratio: Ratio
    verdict: Verdict


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
    worse: tuple[str, ...] = ()
    """Why B is worse, a phrase each; empty where it is not."""
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

    @property
    def worse(self) -> tuple[CellComparison, ...]:
        """The cells in which B is worse."""
        return tuple(cell for cell in self.cells if cell.worse)

    @property
    def exit_code(self) -> int:
        """0 where nothing is worse, else 1."""
        return 1 if self.worse else 0


def compare(a: Path, b: Path, tolerance: float = TOLERANCE, allow: Collection[str] = ()) -> Comparison:
    """Compare the runs in folders ``a`` and ``b``.

    ``allow`` names differences to accept, as in :data:`bench.environment.COMPARABILITY`: ``driver``,
    ``threads``.

    Raises ``InputError`` for runs that cannot be compared: of different suites, on different machines, with
    no cell in common.
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
        raise InputError(
            f"runs {run_a.id} and {run_b.id} have no measured cell in common: measure the same suite and axes"
        )
    cells = tuple(
        compare_cells(key, by_key_a.get(key), by_key_b.get(key), tolerance, key in planned) for key in keys
    )
    return Comparison(run_a, run_b, tolerance, allowed, cells)


def compare_cells(
    key: str, a: Record | None, b: Record | None, tolerance: float = TOLERANCE, planned_in_b: bool = True
) -> CellComparison:
    """Compare the records of one cell; where either is missing or not ``ok``, only say so."""
    status_a, status_b = (record.status if record else None for record in (a, b))
    reason_a, reason_b = (record.reason if record else None for record in (a, b))
    if a is None or b is None or status_a != Status.OK or status_b != Status.OK:
        lost = status_a == Status.OK and (b is not None or planned_in_b)
        worse = (f"was ok, is now {(status_b or 'not measured').replace('_', ' ')}",) if lost else ()
        return CellComparison(key, status_a, status_b, reason_a, reason_b, worse=worse)
    stages = _compare_stages(a, b, tolerance)
    memory = _compare_memory(a, b, tolerance)
    quality = _compare_quality(a, b)
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
        worse=_reasons(stages, memory, quality),
        disturbed=max(others_share(a.samples), others_share(b.samples)) > BUSY,
    )


def _check_comparable(run_a: Run, run_b: Run, allow: Collection[str]) -> tuple[str, ...]:
    """Return the allowed differences; raise ``InputError`` for one that is not allowed."""
    names = {matter.name for matter in COMPARABILITY}
    for name in allow:
        if name not in names:
            raise unknown_name("difference to allow", name, names)
    if (run_a.suite, run_a.suite_version) != (run_b.suite, run_b.suite_version):
        raise InputError(
            f"run {run_a.id} is of suite {run_a.suite} version {run_a.suite_version}, run {run_b.id} "
            f"of suite {run_b.suite} version {run_b.suite_version}: compare runs of the same suite"
        )
    found = differences(run_a, run_b)
    for matter, a, b in found:
        if matter.name not in allow:
            raise InputError(
                f"runs differ in {matter.label}: '{a}' in {run_a.id}, '{b}' in {run_b.id}; "
                f"measure both alike, or allow it with --allow {matter.name}"
            )
    return tuple(f"{matter.label}: {a} → {b}" for matter, a, b in found)


def _compare_stages(a: Record, b: Record, tolerance: float) -> tuple[StageComparison, ...]:
    seconds_a, seconds_b = _top_level_seconds(a), _top_level_seconds(b)
    medians_a, medians_b = (
        {stage: summarise(seconds).median for stage, seconds in each.items()}
        for each in (seconds_a, seconds_b)
    )
    whole = max(medians_a.values(), default=0.0)
    busier = others_share(b.samples) - others_share(a.samples)
    compared = []
    for stage in (stage for stage in seconds_a if stage in seconds_b):
        ratio = ratio_of_medians(seconds_a[stage], seconds_b[stage])
        # Ours lies outside the whole, which is a peer's.
        matters = stage == OURS or abs(medians_b[stage] - medians_a[stage]) >= SHARE_FLOOR * whole
        verdict = _verdict(ratio, seconds_a[stage], seconds_b[stage], tolerance) if matters else Verdict.SAME
        comparison = StageComparison(stage, medians_a[stage], medians_b[stage], ratio, verdict)
        compared.append(_doubted(comparison, busier))
    return tuple(compared)


def _doubted(comparison: StageComparison, busier: float) -> StageComparison:
    """Return the comparison, unclear where other programs, ``busier`` by so much in B, may explain it."""
    suspects = {Verdict.SLOWER: busier, Verdict.FASTER: -busier}
    if suspects.get(comparison.verdict, 0.0) <= LOAD_TOLERANCE:
        return comparison
    caveat = f"other programs used {abs(busier):.0%} more of the CPUs during {'B' if busier > 0 else 'A'}"
    ratio = replace(comparison.ratio, warnings=(*comparison.ratio.warnings, caveat))
    return replace(comparison, ratio=ratio, verdict=Verdict.UNCLEAR)


def _top_level_seconds(record: Record) -> dict[str, list[float]]:
    """Return the wall-clock seconds of the timed repetitions for each top-level stage."""
    seconds: dict[str, list[float]] = {}
    for sample in record.samples:
        if not sample.warmup and "." not in sample.stage:
            seconds.setdefault(sample.stage, []).append(sample.seconds)
    return seconds


def _verdict(ratio: Ratio, a: Sequence[float], b: Sequence[float], tolerance: float) -> Verdict:
    upper, lower = 1 + tolerance, 1 / (1 + tolerance)
    if min(len(a), len(b)) < ENOUGH:
        return Verdict.UNCLEAR
    if ratio.low > upper and ratio.floor > upper:
        return Verdict.SLOWER
    if ratio.high < lower and ratio.floor < lower:
        return Verdict.FASTER
    if lower <= ratio.low and ratio.high <= upper:
        return Verdict.SAME
    return Verdict.UNCLEAR


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


def _reasons(
    stages: Sequence[StageComparison], memory: Sequence[Change], quality: Sequence[Change]
) -> tuple[str, ...]:
    if any(stage.stage == OURS for stage in stages):
        stages, memory = [stage for stage in stages if stage.stage not in _PEERS], ()
    slower = [
        f"{stage.stage} takes {stage.ratio.estimate:.2f}× as long"
        for stage in stages
        if stage.verdict is Verdict.SLOWER
    ]
    return (
        *slower,
        *(
            f"{change.name} went from {change.a:.4g} to {change.b:.4g}"
            for change in (*memory, *quality)
            if change.worse
        ),
    )
