"""Outcome of a contest: time, memory, energy, quality and patches, each judged apart."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.compare import HIGHER_IS_BETTER
from bench.turns.contest import Contest, Side
from bench.turns.tolerances import Tolerances
from bench.verdicts import Exit, Verdict, by_interval, exit_code_of
from bench.work import WorkChange, work_change


@dataclass(frozen=True)
class Outcome:
    """What became of one cell."""

    contest: Contest
    worse: tuple[str, ...] = ()
    """Why the head is worse, a phrase each."""
    undecided: tuple[str, ...] = ()
    """What could not be decided, and why."""


def outcome(contest: Contest, tolerances: Tolerances) -> Outcome:
    """Judge a contest; one that failed is worse where the base had done the cell and the head could not."""
    if contest.failure is not None:
        failed = f"the {contest.failed} could not go on after {contest.pairs} pairs: {contest.failure}"
        return Outcome(contest, (failed,) if contest.failed == "head" else (), (failed,))
    contest = work_aware(contest, tolerances)
    slower = [
        f"{name} takes {stage.wall} times as long"
        for name, stage in contest.stages.items()
        if stage.verdict is Verdict.SLOWER
    ]
    others = (*_memory(contest, tolerances), *_energy(contest, tolerances), *_quality(contest, tolerances))
    return Outcome(contest, (*slower, *others), tuple(_undecided(contest)))


def work_aware(contest: Contest, tolerances: Tolerances) -> Contest:
    """Return the contest with the stages that are slower or faster by no more than their work changed called
    so."""
    found = dict(contest.stages)
    for name, stage in contest.stages.items():
        change = _work(contest, name)
        if change is None or stage.verdict not in (Verdict.SLOWER, Verdict.FASTER):
            continue
        low, high = stage.wall.low / change.most, stage.wall.high / change.least
        if by_interval(low, high, tolerances.time) is stage.verdict:
            continue
        explained = Verdict.MORE_WORK if stage.verdict is Verdict.SLOWER else Verdict.LESS_WORK
        reason = f"{change}; one cell alone does not say what the same work would take"
        found[name] = replace(stage, verdict=explained, reason=reason)
    return replace(contest, stages=found)


def _work(contest: Contest, stage: str) -> WorkChange | None:
    if not (contest.base.records and contest.head.records):
        return None
    return work_change(contest.base.records[-1], contest.head.records[-1], stage)


def exit_code(outcomes: Sequence[Outcome]) -> Exit:
    """Return the exit code of all cells: worse, else undecided, else nothing worse."""
    return exit_code_of(any(each.worse for each in outcomes), any(each.undecided for each in outcomes))


def _undecided(contest: Contest) -> list[str]:
    """Say what is undecided, stages for the same reason in one sentence."""
    stages: dict[str, list[str]] = {}
    for name, stage in contest.stages.items():
        if stage.verdict is Verdict.UNDECIDED:
            stages.setdefault(stage.reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in stages.items()]


def _memory(contest: Contest, tolerances: Tolerances) -> list[str]:
    found = []
    for name in type(contest.base.records[0].memory).model_fields:
        base, head = (_median([getattr(r.memory, name) for r in side.records]) for side in _sides(contest))
        if base is None or head is None:
            continue
        if head - base > max(tolerances.memory_bytes, tolerances.memory * base):
            found.append(f"{name} went from {base / 2**20:.0f} to {head / 2**20:.0f} MiB")
    return found


def _energy(contest: Contest, tolerances: Tolerances) -> list[str]:
    base, head = (_median([record.energy_joules for record in side.records]) for side in _sides(contest))
    if base is None or head is None or head <= base * (1 + tolerances.energy):
        return []
    return [f"energy went from {base:.4g} to {head:.4g} J a repetition"]


def _quality(contest: Contest, tolerances: Tolerances) -> list[str]:
    found = []
    before, now = ({record.patch_hash for record in side.records} for side in _sides(contest))
    if None not in before | now and before != now:
        found.append("other patches are chosen")
    for name, is_better in HIGHER_IS_BETTER.items():
        base, head = (_median([r.quality.get(name) for r in side.records]) for side in _sides(contest))
        if base is None or head is None:
            continue
        lost = base - head if is_better else head - base
        if math.isnan(head) or lost > tolerances.quality * abs(base):
            found.append(f"{name} went from {base:.6g} to {head:.6g}")
    return found


def _sides(contest: Contest) -> tuple[Side, Side]:
    return contest.base, contest.head


def _median(values: Sequence[float | None]) -> float | None:
    """Return the median over processes; None where one of them lacks the figure."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known and len(known) == len(values) else None
