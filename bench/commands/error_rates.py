"""Error rates of the verdicts, as a table and sentences for people and as a document for programs."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from bench.commands import invocation
from bench.records import Cell
from bench.turns.selfcheck import STAGE, Condition, Measured, second_clock, wall
from bench.turns.trials import Pool, Rules, Said, Way, try_out
from reports.document import Column, Table, tabulate
from reports.markdown import markdown_table
from reports.terminal import print_fitting


@dataclass(frozen=True)
class Row:
    """What one way said of one condition."""

    condition: Condition
    loaded: bool
    way: Way
    said: Counter[Said]
    pool: Pool

    def count(self, said: Said) -> int:
        return self.said[said]


def rates(found: Measured, cell: Cell, rules: Rules, comparisons: int, trials: int, seed: int) -> list[Row]:
    """Try every way out on every pool: so many ``comparisons`` of the same tree, and ``trials`` else."""
    return [
        Row(
            condition,
            loaded,
            way,
            try_out(pool, cell, way, comparisons if condition.same_tree else trials, rules, seed),
            pool,
        )
        for (condition, loaded), pool in found.pools.items()
        for way in Way
    ]


def print_rates(
    rows: Sequence[Row],
    found: Measured,
    cell: Cell,
    calls: int,
    rules: Rules,
    format: Literal["text", "markdown"],
    console: Console,
) -> None:
    """Print the table, and under it what it was made from."""
    table, lines = table_of(rows), sentences(found, cell, calls, rules)
    if format == "markdown":
        written = "\n\n".join([markdown_table(table), *lines])
        console.print(written, highlight=False, markup=False, soft_wrap=True)
        return
    print_fitting(table, console)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def table_of(rows: Sequence[Row]) -> Table:
    """Return the table of error rates; what a comparison should have said is for the reader to know."""

    def counted(said: Said) -> Column[Row]:
        return Column(said.name.lower(), said.value, lambda row: row.count(said))

    return tabulate(
        [
            Column("condition", "condition", lambda row: row.condition.name, numeric=False),
            Column("machine", "machine", lambda row: _machine(row), numeric=False),
            Column("way", "way", lambda row: row.way.value, numeric=False),
            Column("comparisons", "comparisons", lambda row: row.said.total()),
            *(counted(said) for said in Said),
        ],
        rows,
    )


def _machine(row: Row) -> str:
    return "under load" if row.loaded else "as it is"


def sentences(found: Measured, cell: Cell, calls: int, rules: Rules) -> list[str]:
    """Return what the table was made from, and the command that made it."""
    rounds = [len(pool.rounds) for pool in found.pools.values()]
    pairs = [pool.pairs for pool in found.pools.values()]
    others = {
        at: [pool.others for (_, loaded), pool in found.pools.items() if loaded is at] for at in (False, True)
    }
    lines = [
        f"cell {cell.key}{f', {calls} of its calls' if calls else ''}; each condition was measured in "
        f"{min(rounds)} to {max(rounds)} pairs of processes ({min(pairs)} to {max(pairs)} pairs of "
        "repetitions), from which comparisons were drawn without using a pair twice in one; they share pairs "
        "with each other",
        f"others had {_share(others[False])} of the CPUs as it is, {_share(others[True])} under load",
    ]
    floor = f"calibrated {rules.sessions[-1]}" if rules.sessions else "not calibrated"
    lines.append(f"noise floor: {floor}")
    longer, worked = found.under_load(wall), found.under_load(second_clock)
    if longer and worked:
        said = f"stage {STAGE} took {longer:.2f} times as long and {worked:.2f} times the processor time"
        lines.append(f"under load {said}")
    return [*lines, f"made by {shlex.join(invocation.typed())}"]


def _share(shares: list[float]) -> str:
    return f"{sum(shares) / max(1, len(shares)):.0%}"


def documents(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows as JSON can hold them."""
    return [
        {
            "condition": row.condition.name,
            "under_load": row.loaded,
            "way": row.way,
            "comparisons": row.said.total(),
            "said": {said.name.lower(): row.count(said) for said in Said},
            "rounds": len(row.pool.rounds),
            "pairs": row.pool.pairs,
            "other_programs_cpu_share": row.pool.others,
        }
        for row in rows
    ]
