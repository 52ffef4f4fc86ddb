"""``run``: measure a suite, print its table, write its report; or finish a run that was cut off."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from autogaze.errors import InputError
from bench import journal, runner
from bench.commands import invocation, options
from bench.commands.machine import plan_document, print_json, run_document
from bench.commands.measuring import (
    REPORT,
    devices_named,
    is_drawn,
    measure,
    open_console,
    print_finished,
    with_effort,
)
from bench.commands.resuming import NAMED_AXES, given_options, plan_of_rest, refuse_other
from bench.commands.terminal import print_plan
from bench.plan import Plan, make_plans
from bench.run_names import find_run
from suites.catalogue import overrides_of, refuse_in_vain
from suites.loader import Suite, load_suite
from suites.workload import Inputs

_OF_CLIPS = ("video", "checkpoint", "revision", "task_checkpoint", "task_revision", "geometry")
"""Options that only suites of the models take."""


def run(
    context: typer.Context,
    suite: options.Suite = "default",
    gpu: options.Gpu = "auto",
    attn: options.Attention = None,
    chunk: options.Chunk = None,
    dtype: options.Dtype = None,
    setting: options.Setting = None,
    batch: options.Batch = None,
    engine: options.Engine = None,
    axis: options.Axes = None,
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
    profile: options.Profile = False,
    out: options.Out = options.RESULTS,
    plan: options.Plan = False,
    resume: options.Resume = None,
    retry: options.Retry = False,
    json: options.Json = False,
) -> None:
    """Measure a suite on one or several devices."""
    given = given_options(context)
    named = {name: context.params[name] for name in NAMED_AXES}
    typed = _typed_axes(named, axis or ())
    console = open_console(stderr=json)
    if resume:
        folder = find_run(resume, out)
        refuse_other(journal.read_head(folder)[1], given, typed)
        raise typer.Exit(_finish(folder, retry, plan, json, console))
    if retry:
        raise InputError(
            f"{invocation.option('retry')} measures cells of a run again, and none is named: name it with "
            f"{invocation.option('resume')}"
        )
    inputs = _inputs(context.params)
    loaded = load_suite(suite, overrides_of(suite, typed), ["upstream"] if inputs.upstream else [])
    refuse_in_vain(loaded, [invocation.option(name) for name in _OF_CLIPS if name in given])
    loaded = with_effort(loaded, samples, time_budget)
    plans = make_plans(loaded, devices_named(gpu))
    if plan:
        raise typer.Exit(_print_plans(loaded, plans, inputs, out, json, console))
    raise typer.Exit(_start(loaded, plans, inputs, out, json, console, profile))


def _inputs(given: Mapping[str, Any]) -> Inputs:
    """Return what is the same for every cell, from the options by name; an empty one is not given.

    Raises ``InputError`` for an interpreter of a checkout that is not named.
    """
    upstream, python = given["upstream"], given["upstream_python"]
    if python and not upstream:
        raise InputError(f"UPSTREAM_PYTHON {python} has nothing to run: name a checkout with UPSTREAM=")
    return Inputs(
        video=given["video"] or None,
        checkpoint=given["checkpoint"] or None,
        task_checkpoint=given["task_checkpoint"] or None,
        revision=given["revision"] or None,
        task_revision=given["task_revision"] or None,
        geometry=given["geometry"],
        seed=given["seed"],
        upstream=str(Path(upstream).expanduser().resolve()) if upstream else None,
        upstream_python=python or None,
    )


def _typed_axes(named: Mapping[str, str | None], others: Sequence[str]) -> dict[str, list[str]]:
    """Return the values typed for each axis; none for one without, as make passes it."""
    typed = {name: values for name, text in named.items() if (values := _listed(text))}
    for text in others:
        name, _, listed = text.partition("=")
        values = _listed(listed)
        if not (name.strip() and values):
            raise InputError(
                f"axis '{text}' must have the form name=value,value such as operation=decode_step"
            )
        name = name.strip().lower()
        name = "attn" if name == "attention" else name
        if typed.get(name, values) != values:
            raise InputError(f"axis {name} is given twice, and differently: give it once")
        typed[name] = values
    return typed


def _listed(text: str | None) -> list[str]:
    """Return the values of a comma list."""
    return [value.strip() for value in (text or "").split(",") if value.strip()]


def _print_plans(
    suite: Suite, plans: Sequence[Plan], inputs: Inputs, out: Path, json: bool, console: Console
) -> int:
    """Print the cells of each plan and what they should cost."""
    foreseen = []
    for each in plans:
        head = runner.head_of(suite, each, inputs, invocation.typed())
        foreseen.append(runner.look_ahead(head, each, out))
        print_plan(foreseen[-1], console)
    if json:
        print_json({"plans": [plan_document(each) for each in foreseen]})
    return 0


def _start(
    suite: Suite,
    plans: Sequence[Plan],
    inputs: Inputs,
    out: Path,
    json: bool,
    console: Console,
    profiled: bool,
) -> int:
    """Measure a suite on each device; return the exit code."""
    begun: list[Path] = []

    def folders() -> Iterator[Path]:
        for each in plans:
            begun.append(runner.start(suite, each, inputs, invocation.typed(), out, profiled=profiled))
            yield begun[-1]

    code = measure(folders(), console)
    if json:
        _print_runs(begun, code)
    return code


def _finish(folder: Path, retry: bool, plan: bool, json: bool, console: Console) -> int:
    """Measure what is left of a run, or print what that would cost; return the exit code."""
    run, records = journal.read_run(folder)
    left = journal.unfinished(run, records, retry)
    if left:
        runner.check_resumable(run)
    if plan and left:
        rest = plan_of_rest(folder, retry)
        print_plan(rest, console)
        if json:
            print_json({"plans": [plan_document(rest, run)]})
        return 0
    finished = plan or (not left and is_drawn(folder))
    code = print_finished(folder, console) if finished else measure([folder], console, retry)
    if json:
        _print_runs([folder], code)
    return code


def _print_runs(folders: Sequence[Path], code: int) -> None:
    found = [(folder, folder / REPORT) for folder in folders]
    runs = [run_document(folder, report if report.is_file() else None) for folder, report in found]
    print_json({"exit_code": code, "runs": runs})
