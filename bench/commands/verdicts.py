"""Verdicts of ``regress``, as a table and sentences for people and as a document for programs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from bench.commands.terminal import common_axes, describe_cell
from bench.records import BUSY
from bench.turns.outcome import Outcome
from bench.turns.verdict import Interval, StageVerdict
from reports.document import Column, tabulate
from reports.terminal import print_fitting
from reports.units import fixed, milliseconds


@dataclass(frozen=True)
class _Row:
    cell: str
    outcome: Outcome
    stage: str
    found: StageVerdict


def print_outcomes(outcomes: Sequence[Outcome], base: str, console: Console) -> None:
    """Print a table of stages, then what is worse or undecided, a line each."""
    known = common_axes([each.contest.cell for each in outcomes])
    names = [describe_cell(each.contest.cell, known) or each.contest.cell.workload for each in outcomes]
    rows = [
        _Row(name, each, stage, found)
        for name, each in zip(names, outcomes)
        for stage, found in each.contest.stages.items()
    ]
    print_fitting(tabulate(_COLUMNS, rows), console)
    console.print(
        f"base is {base}; times are medians in ms of one repetition; ratios are this tree over the base, "
        "medians over pairs; CPU is the ratio of processor times, of device times on a GPU",
        highlight=False,
    )
    for name, each in zip(names, outcomes):
        for kind, sentences in (("worse", each.worse), ("undecided", each.undecided)):
            for sentence in sentences:
                console.print(f"{kind}: {name}: {sentence}", highlight=False, markup=False)
        if (share := each.contest.others) > BUSY:
            busy = f"! other programs used {share:.0%} of the CPUs during {name}"
            console.print(busy, highlight=False, markup=False)
    worse = sum(bool(each.worse) for each in outcomes)
    undecided = sum(bool(each.undecided) for each in outcomes)
    console.print(
        f"{worse} of {len(outcomes)} cells worse than {base}, {undecided} of {len(outcomes)} undecided",
        highlight=False,
        markup=False,
    )


def _interval(interval: Interval) -> str | None:
    return f"{interval.low:.3f} to {interval.high:.3f}" if math.isfinite(interval.high) else None


_COLUMNS: tuple[Column[_Row], ...] = (
    Column("cell", "cell", lambda row: row.cell, numeric=False),
    Column("stage", "stage", lambda row: row.stage, numeric=False),
    Column("pairs", "pairs", lambda row: row.outcome.contest.pairs, spare=1),
    Column(
        "base_seconds",
        "base",
        lambda row: statistics.median(row.outcome.contest.base.seconds(row.stage)),
        "ms",
        milliseconds,
        spare=2,
    ),
    Column("ratio", "ratio", lambda row: row.found.wall.estimate, "", fixed(3)),
    Column("interval", "99 % interval", lambda row: _interval(row.found.wall)),
    Column(
        "cpu_ratio",
        "CPU",
        lambda row: row.found.witness.estimate if row.found.witness else None,
        "",
        fixed(3),
        spare=3,
    ),
    Column("verdict", "verdict", lambda row: row.found.verdict.value, numeric=False),
)


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome of a cell as JSON can hold it; times in seconds."""
    contest = outcome.contest
    stages: Mapping[str, Any] = {
        name: {
            "verdict": stage.verdict,
            "reason": stage.reason,
            "base_seconds": statistics.median(contest.base.seconds(name)),
            "wall": asdict(stage.wall),
            "second_clock": asdict(stage.witness) if stage.witness else None,
        }
        for name, stage in contest.stages.items()
    }
    return {
        "cell": contest.cell.key,
        "workload": contest.cell.workload,
        "axes": contest.cell.axes,
        "pairs": contest.pairs,
        "stages": stages,
        "worse": outcome.worse,
        "undecided": outcome.undecided,
        "failure": contest.failure,
        "other_programs_cpu_share": contest.others,
    }
