"""``selfcheck``: how often the verdicts on this machine are wrong, tried out where the answer is known."""

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from autogaze.errors import InputError
from bench.calibration import read_calibration
from bench.commands import invocation, options
from bench.commands.machine import print_json
from bench.commands.measuring import devices_named, open_console
from bench.commands.regress import Budget, TolerancesFile, narrowed, only_one
from bench.environment import describe
from bench.job import Job
from bench.turns.base import head_tree
from bench.turns.cells import definition
from bench.turns.contest import Limits
from bench.turns.recording import jobs_of
from bench.turns.tolerances import FILE, read_tolerances
from suites.loader import load_suite

_SUITE, _CHUNK, _SETTING = "smoke", "4", "ratio_0.10"
"""A short real cell: frames are read, patches chosen, frames painted from them."""

Comparisons = Annotated[int, Option(min=1, help="Comparisons of the tree with itself, of each kind.")]
Trials = Annotated[int, Option(min=1, help="Comparisons with each other condition, of each kind.")]
Minutes = Annotated[float, Option(min=0.0, help="Minutes of measuring; at least two rounds are measured.")]
Frames = Annotated[int, Option(min=0, help="Frames of the clip, so that repetitions are short; 0 for all.")]
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
    frames: Frames = 4,
    budget: Budget = 60.0,
    tolerances: TolerancesFile = FILE,
    format_: Format = "text",
    json: options.Json = False,
) -> None:
    """Try the verdicts out on this tree against itself, slowed, and with more work; quiet and under load.

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
    # What was found for whole clips does not hold for a part of one.
    rules = Rules(read_tolerances(tolerances), Limits(budget), () if frames else sessions)

    def tell(condition: Condition, loaded: bool, cycle: int) -> None:
        said = f"cycle {cycle + 1}: {condition.name}, {'under load' if loaded else 'quiet'}"
        aside.print(said, highlight=False, markup=False)

    with _cut(job, frames) as short:
        measured = measure(tree, short, minutes, seed, tell)
    rows = rates(measured, cell, rules, comparisons, trials, seed)
    print_rates(rows, measured, cell, frames, rules, format_, console)
    if json:
        print_json({"command": shlex.join(invocation.typed()), "cell": cell.key, "rows": documents(rows)})


@contextmanager
def _cut(job: Job, frames: int) -> Iterator[Job]:
    """Give the job with the first frames of the embedded clip for a video, or as it is for none."""
    if not frames:
        yield job
        return
    import numpy as np

    from autogaze.embedded import clip_path
    from autogaze.video.video_file import open_source

    with tempfile.TemporaryDirectory(prefix="selfcheck-") as folder:
        path = Path(folder, "frames.npy")
        np.save(path, open_source(clip_path()).read(start=0, count=frames).frames)
        yield job.model_copy(update={"inputs": {**job.inputs, "video": str(path)}})
