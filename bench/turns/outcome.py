"""Outcome of a contest: time, memory, energy, quality and patches, each judged apart."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from bench.records import WHOLE
from bench.turns.contest import Contest, Side
from bench.turns.tolerances import Tolerances
from bench.turns.verdict import Verdict

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "loss": False, "mae": False, "mse": False}


class Exit(IntEnum):
    """Exit codes of a comparison."""

    NOTHING_WORSE = 0
    WORSE = 1
    BAD_INPUT = 2
    UNDECIDED = 3
    NOT_COMPARABLE = 4


@dataclass(frozen=True)
class Outcome:
    """What became of one cell."""

    contest: Contest
    worse: tuple[str, ...] = ()
    """Why the head is worse, a phrase each."""
    undecided: tuple[str, ...] = ()
    """What could not be decided, and why."""
    faster: tuple[str, ...] = ()


def outcome(contest: Contest, tolerances: Tolerances) -> Outcome:
    """Judge a contest; one that failed is worse where the base had done the cell and the head could not."""
    if contest.failure is not None:
        failed = f"ended after {contest.pairs} pairs: {contest.failure}"
        return Outcome(contest, (failed,) if "the head" in contest.failure else (), (failed,))
    slower, undecided, faster = [], [], []
    whole = statistics.median(contest.base.seconds(WHOLE))
    for name, stage in contest.stages.items():
        share = abs(stage.wall.estimate - 1) * statistics.median(contest.base.seconds(name)) / whole
        ratio = f"{name} takes {stage.wall} times as long"
        if stage.verdict is Verdict.UNDECIDED:
            undecided.append(f"{name}: {stage.reason}")
        elif stage.verdict is Verdict.SLOWER and share >= tolerances.stage_share:
            slower.append(ratio)
        elif stage.verdict is Verdict.FASTER:
            faster.append(ratio)
    others = (*_memory(contest, tolerances), *_energy(contest, tolerances), *_quality(contest, tolerances))
    return Outcome(contest, (*slower, *others), tuple(undecided), tuple(faster))


def exit_code(outcomes: Sequence[Outcome]) -> Exit:
    """Return the exit code of all cells: worse, else undecided, else nothing worse."""
    if any(each.worse for each in outcomes):
        return Exit.WORSE
    return Exit.UNDECIDED if any(each.undecided for each in outcomes) else Exit.NOTHING_WORSE


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
