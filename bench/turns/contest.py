"""Contest: one cell, measured by two trees in turns until it is decided which is slower.

Both have a process that has the cell loaded and waits (a job in turns, :mod:`bench.worker`). A coin says who
is first in each pair of repetitions; both have finished, judgement included, before the next one starts. Each
process may be a little faster or slower than its twin for as long as it lives, by where its memory happens to
lie. So the two are replaced by new ones every :data:`PAIRS_A_PROCESS` pairs, and those are one round: one
observation, however many pairs it is made of (:mod:`bench.turns.verdict`).
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from autogaze.child_process import ChildProcess, fate
from bench.calibration import Spread
from bench.job import TURN, Event, Job
from bench.meters.cpu_load import others_share
from bench.records import WHOLE, Cell, Record, Sample
from bench.samples import seconds_of, top_level_stages, witness_of
from bench.turns.tolerances import Tolerances
from bench.turns.verdict import ALPHA, Interval, StageVerdict, always_valid, stage_verdict
from bench.verdicts import Verdict

PAIRS_A_PROCESS = 3
"""Pairs after which both processes are replaced; their median is not moved by one that was disturbed."""

Floors = Mapping[str, Spread]
"""How far from 1 the ratio of two processes of one tree lies, for each stage that it is known of."""
NO_FLOORS: Floors = {}

T = TypeVar("T")

_FAREWELL_SECONDS = 5.0
_START_SECONDS = 300.0
"""A process that takes longer to load a cell is given up."""


@dataclass(frozen=True)
class Tree:
    """A tree of this project, and what runs it."""

    folder: Path
    python: str


@dataclass(frozen=True)
class Limits:
    """When a contest ends undecided."""

    seconds: float
    """Of repetitions, both trees together."""
    most_pairs: int = 400


@dataclass
class Side:
    """What one tree showed of a cell."""

    samples: list[Sample] = field(default_factory=list)
    """Of timed repetitions; the index counts pairs."""
    records: list[Record] = field(default_factory=list)
    """One for each process."""

    def seconds(self, stage: str) -> list[float]:
        return seconds_of(self.samples, stage)

    def witness(self, stage: str) -> list[float]:
        """Return the second clock's times, as :func:`bench.samples.witness_of` does."""
        return witness_of(self.samples, stage)


@dataclass(frozen=True)
class Contest:
    """One cell, as two trees did it."""

    cell: Cell
    pairs: int
    stages: Mapping[str, StageVerdict]
    base: Side
    head: Side
    failed: Literal["base", "head"] | None = None
    """The tree that cannot run the cell, or whose process died."""
    failure: str | None = None
    """What it said, or how it died."""

    @property
    def others(self) -> float:
        """Share of the CPUs that other programs had meanwhile."""
        return others_share([*self.base.samples, *self.head.samples])


class ContestError(Exception):
    """A process that has sent its record before its time, or died; the message says why."""

    failed: Literal["base", "head"] | None = None


class _Player:
    """A tree's process with a cell loaded."""

    def __init__(self, tree: Tree, job: Job) -> None:
        self._child = ChildProcess(
            "bench.worker", python=tree.python, folder=tree.folder, options=("-X", "faulthandler"),
            leads_group=True,
        )  # fmt: skip
        self._record: Record | None = None
        self._child.send(job.line())

    def await_turn(self) -> list[Sample]:
        """Wait until it is ready for a turn; return the samples since the one before."""
        samples: list[Sample] = []
        while True:
            event = self._event()
            samples += event.samples
            if event.record is not None:
                self._record = event.record
                raise ContestError(event.record.reason or "it stopped by itself")
            if event.kind == "turn":
                return [sample for sample in samples if not sample.warmup]

    def take_turn(self) -> list[Sample]:
        """Do one repetition; return its samples."""
        self._child.send(TURN)
        return self.await_turn()

    def leave(self) -> Record:
        """End the turns; return the record of them all."""
        if self._record is None:
            self._child.send("done")
            while self._record is None:
                self._record = self._event().record
        return self._record

    def close(self) -> None:
        self._child.close()

    def _event(self) -> Event:
        try:
            return Event.model_validate_json(self._child.receive(time.monotonic() + _START_SECONDS))
        except TimeoutError:
            raise ContestError(f"it did not answer within {_START_SECONDS:g} s") from None
        except EOFError:
            tail = self._child.printed.tail().splitlines()
            how = "ended its answers"
            with suppress(TimeoutError):
                how = fate(self._child.exit_code(time.monotonic() + _FAREWELL_SECONDS))
            raise ContestError(f"its process {how}{': ' + tail[-1] if tail else ''}") from None


def hold(
    base: Tree, head: Tree, job: Job, tolerances: Tolerances, limits: Limits, seed: int,
    on_pair: Callable[[int, Mapping[str, StageVerdict]], None] = lambda pair, stages: None,
    floors: Floors = NO_FLOORS,
) -> Contest:  # fmt: skip
    """Measure the cell of ``job`` by both trees in turns, until every stage is decided or the limits are met.

    ``floors`` say how far from 1 the ratio of two processes of one tree lies here. A tree that cannot run the
    cell ends the contest with a ``failure``; what was measured before is kept.
    """
    sides = (Side(), Side())
    coin = random.Random(seed)
    stages: Mapping[str, StageVerdict] = {}
    pairs = 0
    try:
        # Closed here, and not when it is forgotten: a process may fail when it leaves, too.
        with closing(pairs_in_turns((base, head), (job, job), sides, coin)) as measured:
            for pair in measured:
                pairs = pair + 1
                stages = verdicts(*sides, tolerances, floors)
                on_pair(pairs, stages)
                if is_over(stages, sides, limits):
                    break
    except ContestError as end:
        return Contest(job.cell, pairs, stages, *sides, failed=end.failed, failure=str(end))
    return Contest(job.cell, pairs, stages, *sides)


def is_over(stages: Mapping[str, StageVerdict], sides: tuple[Side, Side], limits: Limits) -> bool:
    """Return whether every stage is decided, or the limits are met."""
    if all(each.verdict is not Verdict.UNDECIDED for each in stages.values()):
        return True
    wholes = [side.seconds(WHOLE) for side in sides]
    return sum(map(sum, wholes)) >= limits.seconds or len(wholes[0]) >= limits.most_pairs


def pairs_in_turns(
    trees: tuple[Tree, Tree],
    jobs: tuple[Job, Job],
    sides: tuple[Side, Side],
    coin: random.Random,
    pairs_a_process: int = PAIRS_A_PROCESS,
) -> Generator[int]:
    """Measure pair after pair, the samples of which are added to the sides; raises ``ContestError``."""
    pair = 0
    while True:
        with _players(trees, jobs, sides) as players:
            for _ in range(pairs_a_process):
                order = (0, 1) if coin.random() < 0.5 else (1, 0)
                taken = {place: _named(place, players[place].take_turn) for place in order}
                for place, samples in taken.items():  # only whole pairs are kept
                    sides[place].samples += [s.model_copy(update={"index": pair}) for s in samples]
                yield pair
                pair += 1


@contextmanager
def _players(
    trees: tuple[Tree, Tree], jobs: tuple[Job, Job], sides: tuple[Side, Side]
) -> Generator[tuple[_Player, _Player]]:
    """Have a process of each tree load the cell; their records are added to the sides at the end."""
    with ExitStack() as stack:
        players = []
        for tree, job in zip(trees, jobs):  # which load at the same time: nothing is timed yet
            players.append(_Player(tree, job))
            stack.callback(players[-1].close)
        for place, player in enumerate(players):
            _named(place, player.await_turn)
        first, second = players
        try:
            yield first, second
        finally:
            for place, (player, side) in enumerate(zip(players, sides)):
                side.records.append(_named(place, player.leave))


def _named(place: int, act: Callable[[], T]) -> T:
    try:
        return act()
    except ContestError as end:
        end.failed = "head" if place else "base"
        raise


def verdicts(
    base: Side, head: Side, tolerances: Tolerances, floors: Floors = NO_FLOORS
) -> dict[str, StageVerdict]:
    """Return what the pairs so far say of each top-level stage; the error is shared out among the stages."""
    names = top_level_stages(base.samples)
    both = [name for name in names if len(base.seconds(name)) == len(head.seconds(name))]
    alpha = ALPHA / max(1, len(both))
    return {name: _stage(base, head, name, alpha, tolerances, floors.get(name)) for name in both}


def _stage(
    base: Side, head: Side, name: str, alpha: float, tolerances: Tolerances, spread: Spread | None
) -> StageVerdict:
    wall = _over_rounds(base.seconds(name), head.seconds(name), alpha)
    seconds = base.witness(name), head.witness(name)
    seen = len(seconds[0]) == len(seconds[1]) == len(base.seconds(name))
    found = stage_verdict(wall, _over_rounds(*seconds, alpha) if seen else None, tolerances.time)
    share = statistics.median(base.seconds(name)) / statistics.median(base.seconds(WHOLE))
    if (
        found.verdict is not Verdict.SAME
        and max(wall.high - 1, 1 - wall.low) * share < tolerances.stage_share
    ):
        reason = "too small a share of the whole to matter"
        return replace(found, verdict=Verdict.NEGLIGIBLE, reason=reason)
    if spread is None or found.verdict not in (Verdict.SLOWER, Verdict.FASTER):
        return found
    floor = spread.floor(alpha, math.ceil(len(base.seconds(name)) / PAIRS_A_PROCESS))
    if max(wall.estimate, 1 / wall.estimate) > floor:
        return found
    reason = f"processes of one tree in turns may differ by {floor - 1:.1%} here"
    return replace(found, verdict=Verdict.UNDECIDED, reason=reason)


def _over_rounds(base: Sequence[float], head: Sequence[float], alpha: float) -> Interval:
    """Return the interval over complete rounds; before there is one, what its pairs say so far."""
    ratios = [after / before for before, after in zip(base, head, strict=True)]
    starts = range(0, len(ratios) - PAIRS_A_PROCESS + 1, PAIRS_A_PROCESS)
    rounds = [statistics.median(ratios[start : start + PAIRS_A_PROCESS]) for start in starts]
    return always_valid(rounds, alpha) if rounds else Interval(statistics.median(ratios), 0.0, math.inf)
