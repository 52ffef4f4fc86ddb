"""Recording: pairs of processes of two trees, or of one tree twice, in turns, kept whole for later."""

import itertools
import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from autogaze.errors import InputError
from bench.calibration import StageNoise
from bench.devices import Device
from bench.job import Job
from bench.meters.cpu_load import others_share
from bench.records import AxisValue, Cell
from bench.samples import median_seconds, top_level_stages
from bench.statistics import summarise
from bench.turns.cells import Definition
from bench.turns.contest import PAIRS_A_PROCESS, ContestError, Side, Tree, pairs_in_turns
from suites.workload import Inputs

PAIRS_RECORDED = 10
"""Pairs of a round: as many as a recorded run has samples. A contest takes the first few."""


@dataclass(frozen=True)
class Round:
    """Two processes that took turns from their start to their end, with one record each."""

    base: Side
    head: Side

    @property
    def pairs(self) -> int:
        return len({sample.index for sample in self.base.samples})

    @property
    def others(self) -> float:
        """Share of the CPUs that other programs had meanwhile."""
        return others_share([*self.base.samples, *self.head.samples])

    def swapped(self) -> "Round":
        """Return the round seen from the other side."""
        return Round(self.head, self.base)


def jobs_of(found: Definition, device: Device, seed: int) -> list[Job]:
    """Return the cells of a tree's suite as jobs in turns."""
    inputs = asdict(Inputs(device=device.torch_name, seed=seed))
    return [job_in_turns(*target, inputs, device) for target in found.targets.values()]


def job_in_turns(cell: Cell, target: str, inputs: Mapping[str, AxisValue], device: Device) -> Job:
    """Return the job of a cell that waits for its turn before each repetition."""
    return Job(
        cell=cell,
        target=target,
        inputs=dict(inputs),
        pci_id=device.pci_id,
        min_samples=1,
        time_budget_seconds=0.0,
        in_turns=True,
    )


def record_round(
    trees: tuple[Tree, Tree], jobs: tuple[Job, Job], coin: random.Random, pairs: int = PAIRS_RECORDED
) -> Round:
    """Start a process of each tree and let them take turns; raises ``InputError`` where one cannot go on."""
    sides = Side(), Side()
    try:
        with closing(pairs_in_turns(trees, jobs, sides, coin, pairs)) as measured:
            for _ in itertools.islice(measured, pairs):
                pass
    except ContestError as end:
        place = 1 if end.failed == "head" else 0
        key = jobs[place].cell.key
        raise InputError(f"cell {key} cannot be measured here ({end}): leave it out") from end
    return Round(*sides)


def noise_of(rounds: Sequence[Round]) -> dict[str, StageNoise]:
    """Return what rounds of one tree say of the noise of each stage."""
    stages = top_level_stages(rounds[0].base.samples)
    return {
        stage: StageNoise(
            medians=tuple(
                seconds
                for each in rounds
                for side in (each.base, each.head)
                if (seconds := median_seconds(side.samples, stage)) is not None
            ),
            ratios=tuple(_ratio(each, stage) for each in rounds),
        )
        for stage in stages
    }


def _ratio(each: Round, stage: str) -> float:
    """Return the median of head over base, over the pairs that a contest would have had."""
    pairs = list(zip(each.base.seconds(stage), each.head.seconds(stage), strict=True))
    return summarise([head / base for base, head in pairs[:PAIRS_A_PROCESS]]).median
