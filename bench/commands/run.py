"""``run``: measure a suite, print its table, write its report."""

import sys
from collections.abc import Mapping
from pathlib import Path

import typer

from autogaze.errors import InputError
from bench import journal, runner
from bench.commands import options
from bench.commands.measuring import devices_named, measure, open_console, with_effort
from bench.commands.terminal import print_plan
from bench.plan import make_plans
from suites.loader import load_suite
from suites.workload import Inputs


def run(
    suite: options.Suite = "default",
    gpu: options.Gpu = "auto",
    attn: options.Attention = None,
    chunk: options.Chunk = None,
    dtype: options.Dtype = None,
    setting: options.Setting = None,
    batch: options.Batch = None,
    engine: options.Engine = None,
    video: options.Video = None,
    checkpoint: options.Checkpoint = None,
    task_checkpoint: options.TaskCheckpoint = None,
    revision: options.Revision = None,
    task_revision: options.TaskRevision = None,
    upstream: options.Upstream = None,
    upstream_python: options.UpstreamPython = None,
    geometry: options.Geometry = "square",
    seed: options.Seed = 0,
    samples: options.Samples = None,
    time_budget: options.TimeBudget = None,
    out: options.Out = options.RESULTS,
    plan: options.Plan = False,
    resume: options.Resume = None,
    retry: options.Retry = False,
) -> None:
    """Measure a suite on one or several devices."""
    if resume is not None:
        raise typer.Exit(_finish(resume, retry))
    typed = {"attention": attn, "chunk": chunk, "dtype": dtype}
    typed |= {"setting": setting, "batch": batch, "engine": engine}
    inputs = Inputs(
        video=video or None,
        checkpoint=checkpoint or None,
        task_checkpoint=task_checkpoint or None,
        revision=revision or None,
        task_revision=task_revision or None,
        geometry=geometry,
        seed=seed,
        upstream=str(Path(upstream).expanduser().resolve()) if upstream else None,
        upstream_python=upstream_python or None,
    )
    raise typer.Exit(_start(suite, gpu, typed, inputs, samples, time_budget, out, plan))


def _finish(folder: Path, retry: bool) -> int:
    """Measure what is left of a run; return the exit code."""
    runner.check_resumable(journal.read_head(folder)[1])
    return measure([folder], open_console(), retry)


def _start(
    suite: str,
    gpu: str,
    typed: Mapping[str, str | None],
    inputs: Inputs,
    samples: int | None,
    time_budget: float | None,
    out: Path,
    plan: bool,
) -> int:
    """Measure a suite, or print what that would cost; return the exit code."""
    if inputs.upstream_python and not inputs.upstream:
        raise InputError(
            f"UPSTREAM_PYTHON {inputs.upstream_python} has nothing to run: name a checkout with UPSTREAM="
        )
    overrides = {axis: values for axis, text in typed.items() if (values := _listed(text))}
    loaded = load_suite(suite, overrides, ["upstream"] if inputs.upstream else [])
    loaded = with_effort(loaded, samples, time_budget)
    plans = make_plans(loaded, devices_named(gpu))
    console = open_console()
    if plan:
        for each in plans:
            head = runner.head_of(loaded, each, inputs, tuple(sys.argv))
            print_plan(runner.look_ahead(head, each, out), console)
        return 0
    return measure((runner.start(loaded, each, inputs, tuple(sys.argv), out) for each in plans), console)


def _listed(text: str | None) -> list[str]:
    """Return the values of a comma list; none for one that is not given or empty, as make passes it."""
    return [value.strip() for value in (text or "").split(",") if value.strip()]
