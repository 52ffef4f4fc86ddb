"""Selfcheck: conditions under which it is known what a comparison should say, and pools of rounds of each.

A tree takes turns with itself: as it is, with one stage really made longer, and with more patches to choose,
which is more work and not slower work; on the machine as it is, and beside a load generator. The conditions
are measured in cycles, so that what the machine does meanwhile falls on all of them alike.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from autogaze.errors import InputError
from bench.job import Job
from bench.load_generator import LoadGenerator
from bench.samples import median_seconds, witness_of
from bench.turns.contest import Tree
from bench.turns.injected import slowed
from bench.turns.recording import Round, record_round
from bench.turns.trials import Pool

STAGE = "gaze"
"""The stage that is made longer."""
_SETTING = "setting"
_FEWEST_ROUNDS = 2
_MOST_ROUND_SECONDS = 600.0
"""After which a load generator ends whatever happens."""


@dataclass(frozen=True)
class Condition:
    """How the head differs from the base."""

    name: str
    share: float = 0.0
    """By which its stage is longer."""
    settings: tuple[str, str] | None = None
    """Gaze settings of base and head, in place of the cell's own."""
    rounds: int = 1
    """Of a cycle."""

    @property
    def same_tree(self) -> bool:
        return not self.share and self.settings is None

    def jobs(self, job: Job) -> tuple[Job, Job]:
        """Return the jobs of base and head."""
        if self.settings is not None:
            base, head = (_with_setting(job, setting) for setting in self.settings)
            return base, head
        return job, slowed(job, STAGE, self.share) if self.share else job

    def fits(self, job: Job) -> bool:
        """Return whether the cell can be brought into this condition."""
        return self.settings is None or _SETTING in job.cell.axes


CONDITIONS = (
    Condition("same tree", rounds=2),
    Condition(f"{STAGE} 5 % slower", share=0.05),
    Condition(f"{STAGE} 20 % slower", share=0.20),
    Condition("5 % more patches", settings=("ratio_0.75", "ratio_0.79")),
)
"""265 patches are candidates: 198 and 209 of them are 20 and 21 steps of ten."""


def _with_setting(job: Job, setting: str) -> Job:
    cell = job.cell.model_copy(update={"axes": {**job.cell.axes, _SETTING: setting}})
    return job.model_copy(update={"cell": cell})


@dataclass(frozen=True)
class Measured:
    """Pools by condition, and by whether the load generator ran."""

    pools: Mapping[tuple[Condition, bool], Pool]

    def under_load(self, clock: Callable[[Round], float | None]) -> float | None:
        """Return how many times as long the unchanged tree takes beside the load generator, on a clock."""
        medians = []
        for loaded in (False, True):
            found = [clock(each) for (of, at), pool in self.pools.items() if of.same_tree and at is loaded
                     for each in pool.rounds]  # fmt: skip
            known = [seconds for seconds in found if seconds]
            medians.append(statistics.median(known) if known else 0.0)
        return medians[1] / medians[0] if all(medians) else None


def wall(each: Round) -> float | None:
    """Return the median wall-clock time of the base's stage."""
    return median_seconds(each.base.samples, STAGE)


def second_clock(each: Round) -> float | None:
    """Return the median of the second clock's time of it."""
    found = witness_of(each.base.samples, STAGE)
    return statistics.median(found) if found else None


def measure(
    tree: Tree, job: Job, minutes: float, seed: int, on_round: Callable[[Condition, bool, int], None]
) -> Measured:
    """Measure rounds of every condition for so many minutes, and at least two of each.

    Raises ``InputError`` for a cell that cannot be measured, or that has no stage to make longer.
    """
    coin, end = random.Random(seed), time.monotonic() + 60 * minutes
    fitting = [condition for condition in CONDITIONS if condition.fits(job)]
    pools = {(condition, loaded): Pool(condition.same_tree) for loaded in (False, True)
             for condition in fitting}  # fmt: skip
    cycle = 0
    while cycle < _FEWEST_ROUNDS or time.monotonic() < end:
        for (condition, loaded), pool in pools.items():
            for _ in range(condition.rounds):
                on_round(condition, loaded, cycle)
                most = _MOST_ROUND_SECONDS
                with LoadGenerator(coin.randrange(2**31), most) if loaded else nullcontext():
                    pool.rounds.append(record_round((tree, tree), condition.jobs(job), coin))
                if wall(pool.rounds[-1]) is None:
                    raise InputError(f"cell {job.cell.key} has no stage {STAGE}: name one that has")
        cycle += 1
    return Measured(pools)
