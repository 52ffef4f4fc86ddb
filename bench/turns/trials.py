"""Trials: the verdicts tried out on pairs of processes that were really measured.

Rounds are recorded once, into a pool for each condition. A trial draws rounds of one pool by chance and puts
them through what ``regress`` does pair by pair, in the order in which they were measured, no round twice in
one trial. For ``compare`` it draws one process of one round and one of another, as two runs are that were
made apart. Trials of one pool share rounds, and so are not independent of each other: many trials of few
rounds say how often a verdict is wrong on this data, and little of other days.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from bench.calibration import Session, floors_in_turns
from bench.compare import Context, compare_cells
from bench.margins import margins_of
from bench.records import Cell, Record, Sample
from bench.samples import top_level_stages
from bench.turns.contest import PAIRS_A_PROCESS, Contest, Limits, Side, is_over, verdicts
from bench.turns.interval_rule import interval_verdicts
from bench.turns.outcome import outcome
from bench.turns.recording import Round
from bench.turns.tolerances import Tolerances
from bench.verdicts import Verdict


class Way(StrEnum):
    """Ways to come to a verdict."""

    TURNS = "in turns (regress)"
    RECORDED = "recorded (compare)"
    BEFORE = "recorded, the old way"


class Said(StrEnum):
    """What a trial said of a cell: the gravest of what it said of the stages."""

    WORSE = "worse"
    MORE_WORK = "more work"
    FASTER = "faster"
    UNDECIDED = "undecided"
    SAME = "same"


@dataclass
class Pool:
    """Rounds of one condition."""

    same_tree: bool
    """Whether both sides did exactly the same."""
    rounds: list[Round] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        return sum(each.pairs for each in self.rounds)

    @property
    def others(self) -> float:
        """Mean over rounds of the share of the CPUs that other programs had."""
        return sum(each.others for each in self.rounds) / max(1, len(self.rounds))


@dataclass(frozen=True)
class Rules:
    """What a trial goes by."""

    tolerances: Tolerances
    limits: Limits
    sessions: tuple[Session, ...] = ()
    """Calibrations of this machine for the suite."""


def try_out(pool: Pool, cell: Cell, way: Way, trials: int, rules: Rules, seed: int) -> Counter[Said]:
    """Return how often so many trials said what.

    Raises ``ValueError`` for a pool of fewer than two rounds.
    """
    if len(pool.rounds) < 2:
        raise ValueError(f"a pool of {len(pool.rounds)} rounds leaves nothing to draw")
    chance = random.Random(f"{way.value} {seed}")
    trial: Callable[[], Said] = {
        Way.TURNS: lambda: _in_turns(pool, cell, rules, chance),
        Way.RECORDED: lambda: _recorded(*_two_runs(pool, chance), rules),
        Way.BEFORE: lambda: gravest(interval_verdicts(*_two_runs(pool, chance)).values()),
    }[way]
    return Counter(trial() for _ in range(trials))


def gravest(found: Iterable[Verdict]) -> Said:
    """Return what a cell is said to be whose stages have these verdicts."""
    verdicts = set(found)
    order = {
        Verdict.SLOWER: Said.WORSE,
        Verdict.MORE_WORK: Said.MORE_WORK,
        Verdict.FASTER: Said.FASTER,
        Verdict.UNDECIDED: Said.UNDECIDED,
    }
    return next((said for verdict, said in order.items() if verdict in verdicts), Said.SAME)


def replay(cell: Cell, rounds: Sequence[Round], rules: Rules) -> Contest:
    """Return the contest that these rounds would have been: it ends when it is decided, when the limits are
    met, or when the rounds are over."""
    sides, floors = (Side(), Side()), floors_in_turns(rules.sessions, cell.key)
    pairs, stages = 0, verdicts(*sides, rules.tolerances, floors)
    for each in rounds:
        sides[0].records.append(each.base.records[0])
        sides[1].records.append(each.head.records[0])
        for of_pair in _pairs(each):
            for side, samples in zip(sides, of_pair):
                side.samples += samples
            pairs += 1
            stages = verdicts(*sides, rules.tolerances, floors)
            if is_over(stages, sides, rules.limits):
                return Contest(cell, pairs, stages, *sides)
    return Contest(cell, pairs, stages, *sides)


def _pairs(each: Round) -> Iterator[tuple[list[Sample], list[Sample]]]:
    """Return the samples of top-level stages, pair after pair, of as many as a contest takes."""
    for index in sorted({sample.index for sample in each.base.samples})[:PAIRS_A_PROCESS]:
        base, head = (
            [sample for sample in side.samples if sample.index == index and "." not in sample.stage]
            for side in (each.base, each.head)
        )
        yield base, head


def _in_turns(pool: Pool, cell: Cell, rules: Rules, chance: random.Random) -> Said:
    drawn = [_either_way(each, pool, chance) for each in chance.sample(pool.rounds, len(pool.rounds))]
    judged = outcome(replay(cell, drawn, rules), rules.tolerances)
    # Other reasons than time can be false alarms only where both sides did the same.
    if pool.same_tree and judged.worse:
        return Said.WORSE
    return gravest(stage.verdict for stage in judged.contest.stages.values())


def _recorded(a: Record, b: Record, rules: Rules) -> Said:
    margins = margins_of(rules.sessions, timedelta(0), len(top_level_stages(a.samples)))
    found = compare_cells(a.cell.key, a, b, context=Context(margins, rules.sessions))
    return gravest(stage.verdict for stage in found.stages)


def _two_runs(pool: Pool, chance: random.Random) -> tuple[Record, Record]:
    """Return a record of the base and one of the head that were not made in turns."""
    first, second = chance.sample(pool.rounds, 2)
    return (
        _either_way(first, pool, chance).base.records[0],
        _either_way(second, pool, chance).head.records[0],
    )


def _either_way(each: Round, pool: Pool, chance: random.Random) -> Round:
    return each.swapped() if pool.same_tree and chance.random() < 0.5 else each
