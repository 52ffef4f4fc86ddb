"""``selfcheck``: how often the verdicts on this machine are wrong, tried out where the answer is known."""

import shlex
from typing import Annotated, Literal

from typer import Option

from autogaze.errors import InputError
from bench.calibration import read_calibration
from bench.commands import invocation, options
from bench.commands.machine import print_json
from bench.commands.measuring import devices_named, open_console
from bench.commands.regress import BUDGET_SECONDS, Budget, TolerancesFile, narrowed, only_one
from bench.environment import describe
from bench.turns.base import head_tree
from bench.turns.cells import definition
from bench.turns.contest import Limits
from bench.turns.injected import shortened
from bench.turns.recording import jobs_of
from bench.turns.tolerances import FILE, read_tolerances
from suites.loader import load_suite

_SUITE, _CHUNK, _SETTING = "smoke", "4", "ratio_0.10"
"""A short real cell: frames are read, patches chosen, frames painted from them."""

Comparisons = Annotated[int, Option(min=1, help="Comparisons of the tree with itself, of each kind.")]
Trials = Annotated[int, Option(min=1, help="Comparisons with each other condition, of each kind.")]
Minutes = Annotated[float, Option(min=0.0, help="Minutes of measuring; at least two rounds are measured.")]
Calls = Annotated[int, Option(min=0, help="Calls of the model a repetition, so that it is short; 0 for all.")]
Format = Annotated[Literal["text", "markdown"], Option("--format", help="How the table is written.")]


def selfcheck(
    suite: options.Suite = _SUITE,
    gpu: options.Gpu = "auto",
    attn: options.Attention = None,
    chunk: options.Chunk = None,
    dtype: options.Dtype = None,
    setting: options.Setting = None,
    batch: options.Batch = None,
    engine: options.Engine = None,
    seed: options.Seed = 0,
    comparisons: Comparisons = 300,
    trials: Trials = 40,
    minutes: Minutes = 30.0,
    calls: Calls = 1,
    budget: Budget = BUDGET_SECONDS,
    tolerances: TolerancesFile = FILE,
    format_: Format = "text",
    json: options.Json = False,
) -> None:
    """Try the verdicts out on this tree against itself, slowed, and with more work; also under load.

    The first cell of the suite, as narrowed, is measured; comparisons are drawn from what was measured.
    """
    # These load what --help need not wait for.
    from bench.commands.error_rates import documents, print_rates, rates
    from bench.turns.selfcheck import Condition, measure
    from bench.turns.trials import Rules

    if suite == _SUITE:
        chunk, setting = chunk or _CHUNK, setting or _SETTING
    overrides = narrowed(suite, attn, chunk, dtype, setting, batch, engine)
    (device,) = only_one(devices_named(gpu))
    console, aside = open_console(stderr=json), open_console(stderr=True)
    tree = head_tree()
    found = definition(tree, suite, overrides)
    jobs = jobs_of(found, device, seed)
    if not jobs:
        raise InputError(f"suite {suite} has no such cell: ask for values that it has")
    job, cell = jobs[0], jobs[0].cell
    sessions = read_calibration(describe(device).fields).of(load_suite(suite).name, found.version)
    # What was found for whole repetitions does not hold for short ones.
    rules = Rules(read_tolerances(tolerances), Limits(budget), () if calls else sessions)

    def tell(condition: Condition, loaded: bool, cycle: int) -> None:
        said = f"cycle {cycle + 1}: {condition.name}, {'under load' if loaded else 'as it is'}"
        aside.print(said, highlight=False, markup=False)

    measured = measure(tree, shortened(job, calls) if calls else job, minutes, seed, tell)
    rows = rates(measured, cell, rules, comparisons, trials, seed)
    print_rates(rows, measured, cell, calls, rules, format_, console)
    if json:
        print_json({"command": shlex.join(invocation.typed()), "cell": cell.key, "rows": documents(rows)})
