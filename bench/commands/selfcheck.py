"""``selfcheck``: how often the verdicts on this machine are wrong, tried out where the answer is known."""

import shlex
from typing import Annotated, Literal

from typer import Option

from autogaze.errors import InputError
from bench.commands import invocation, options
from bench.commands.machine import print_json
from bench.commands.measuring import devices_named, open_console
from bench.commands.regress import Budget, TolerancesFile, narrowed, only_one
from bench.turns.base import head_tree
from bench.turns.cells import definition
from bench.turns.contest import Limits
from bench.turns.recording import jobs_of
from bench.turns.tolerances import FILE, read_tolerances

Comparisons = Annotated[int, Option(min=1, help="Comparisons of the tree with itself, of each kind.")]
Trials = Annotated[int, Option(min=1, help="Comparisons with each other condition, of each kind.")]
Minutes = Annotated[float, Option(min=0.0, help="Minutes of measuring; at least two rounds are measured.")]
Format = Annotated[Literal["text", "markdown"], Option("--format", help="How the table is written.")]


def selfcheck(
    suite: options.Suite = "smoke",
    gpu: options.Gpu = "auto",
    attn: options.Attention = None,
    chunk: options.Chunk = "4",
    dtype: options.Dtype = None,
    setting: options.Setting = "ratio_0.10",
    batch: options.Batch = None,
    engine: options.Engine = None,
    seed: options.Seed = 0,
    comparisons: Comparisons = 300,
    trials: Trials = 40,
    minutes: Minutes = 30.0,
    budget: Budget = 60.0,
    tolerances: TolerancesFile = FILE,
    format_: Format = "text",
    json: options.Json = False,
) -> None:
    """Try the verdicts out on this tree against itself, slowed, and with more work; quiet and under load.

    The first cell of the suite, as narrowed, is measured; comparisons are drawn from what was measured.
    """
    # These load what --help need not wait for.
    from bench.commands.error_rates import Row, documents, print_rates
    from bench.turns.selfcheck import Condition, measure
    from bench.turns.trials import Rules, Way, try_out

    overrides = narrowed(suite, attn, chunk, dtype, setting, batch, engine)
    (device,) = only_one(devices_named(gpu))
    rules = Rules(read_tolerances(tolerances), Limits(budget))
    console, aside = open_console(stderr=json), open_console(stderr=True)
    tree = head_tree()
    jobs = jobs_of(definition(tree, suite, overrides), device, seed)
    if not jobs:
        raise InputError(f"suite {suite} has no such cell: ask for values that it has")
    job = jobs[0]

    def tell(condition: Condition, loaded: bool, cycle: int) -> None:
        said = f"cycle {cycle + 1}: {condition.name}, {'under load' if loaded else 'quiet'}"
        aside.print(said, highlight=False, markup=False)

    found = measure(tree, job, minutes, seed, tell)
    rows = [
        Row(
            condition,
            loaded,
            way,
            try_out(pool, job.cell, way, comparisons if condition.same_tree else trials, rules, seed),
            pool,
        )
        for (condition, loaded), pool in found.pools.items()
        for way in Way
    ]
    print_rates(rows, found, job.cell.key, format_, console)
    if json:
        print_json({"command": shlex.join(invocation.typed()), "cell": job.cell.key, "rows": documents(rows)})
