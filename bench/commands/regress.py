"""``regress``: say whether this tree is worse than a base, both measured in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typer import Argument, Option

from autogaze.errors import InputError
from bench.calibration import Session, floors_in_turns, read_calibration
from bench.commands import options
from bench.commands.machine import print_json
from bench.commands.measuring import devices_named, open_console
from bench.commands.terminal import describe_cell
from bench.devices import Device
from bench.environment import describe
from bench.job import Job
from bench.turns.base import base_tree, head_tree
from bench.turns.cells import Definition, definition
from bench.turns.contest import Limits, Tree, hold
from bench.turns.outcome import Outcome, exit_code, outcome
from bench.turns.recording import job_in_turns
from bench.turns.tolerances import FILE, Tolerances, read_tolerances
from bench.turns.verdict import StageVerdict
from bench.verdicts import Exit
from suites.catalogue import overrides_of
from suites.loader import load_suite
from suites.workload import Inputs

Base = Annotated[str, Argument(help="A commit by any name that git knows, or the folder of a checkout.")]
Budget = Annotated[float, Option(min=1.0, help="Seconds of repetitions a cell, both trees together.")]
TolerancesFile = Annotated[Path, Option(help="TOML file of the changes that matter.")]
BUDGET_SECONDS = 180.0
Json = Annotated[bool, Option("--json", help="Print the verdicts as JSON.")]


def regress(
    base: Base,
    suite: options.Suite = "smoke",
    gpu: options.Gpu = "auto",
    attn: options.Attention = None,
    chunk: options.Chunk = None,
    dtype: options.Dtype = None,
    setting: options.Setting = None,
    batch: options.Batch = None,
    engine: options.Engine = None,
    seed: options.Seed = 0,
    budget: Budget = BUDGET_SECONDS,
    tolerances: TolerancesFile = FILE,
    json_: Json = False,
) -> None:
    """Measure a base and this tree in turns, until each cell is decided.

    Exit codes: 0 nothing worse, 1 worse, 2 input that cannot be used, 3 undecided, 4 not comparable.
    """
    overrides = narrowed(suite, attn, chunk, dtype, setting, batch, engine)
    from bench.commands.verdicts import document, print_outcomes  # which load what --help need not wait for

    matters = read_tolerances(tolerances)
    (device,) = only_one(devices_named(gpu))
    console = open_console(stderr=json_)
    head = head_tree()
    with base_tree(base) as other:
        ours, theirs = (definition(tree, suite, overrides) for tree in (head, other))
        jobs, apart = common_jobs(theirs, ours, device, seed)
        for sentence in apart:
            console.print(sentence, highlight=False, markup=False)
        if not jobs:
            raise typer.Exit(Exit.NOT_COMPARABLE)
        sessions = read_calibration(describe(device).fields).of(load_suite(suite).name, ours.version)
        console.print(_calibrated(sessions), highlight=False, markup=False)
        outcomes = [_held(job, (other, head), matters, budget, seed, console, sessions) for job in jobs]
    print_outcomes(outcomes, base, console)
    if json_:
        print_json({"base": base, "exit_code": exit_code(outcomes), "cells": [document(e) for e in outcomes]})
    raise typer.Exit(exit_code(outcomes))


def common_jobs(base: Definition, head: Definition, device: Device, seed: int) -> tuple[list[Job], list[str]]:
    """Return the cells that both trees define alike, and sentences on those that cannot be compared."""
    if base.version != head.version:
        return [], [
            f"the suite is of version {base.version} in the base and {head.version} here: its cells mean "
            "other things, and are not compared"
        ]
    both = [key for key in head.targets if base.targets.get(key, ("", ""))[1] == head.targets[key][1]]
    inputs = asdict(Inputs(device=device.torch_name, seed=seed))
    jobs = [job_in_turns(*head.targets[key], inputs, device) for key in both]
    alone = [key for key in (head.targets.keys() | base.targets.keys()) if key not in both]
    return jobs, [f"not compared, since only one of the trees has it so: {key}" for key in sorted(alone)]


def narrowed(
    suite: str,
    attn: str | None,
    chunk: str | None,
    dtype: str | None,
    setting: str | None,
    batch: str | None,
    engine: str | None,
) -> Mapping[str, Sequence[str]]:
    """Return the values that were typed for axes, by the axes that the suite has."""
    typed = {"attn": attn, "chunk": chunk, "dtype": dtype, "setting": setting, "batch": batch}
    typed |= {"engine": engine}
    return overrides_of(suite, {axis: text.split(",") for axis, text in typed.items() if text})


def only_one(devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """Return the only device named; raises ``InputError`` for several."""
    if len(devices) != 1:
        names = ", ".join(device.name for device in devices)
        raise InputError(f"trees take turns on one device, and {names} are named: name one")
    return devices


def _calibrated(sessions: Sequence[Session]) -> str:
    if not sessions:
        return "noise floor: not known here; make calibrate finds it"
    return f"noise floor: calibrated {sessions[-1]}"


def _held(
    job: Job,
    trees: tuple[Tree, Tree],
    matters: Tolerances,
    budget: float,
    seed: int,
    console: Console,
    sessions: Sequence[Session],
) -> Outcome:
    console.print(describe_cell(job.cell), highlight=False, markup=False)

    def tell(pairs: int, stages: Mapping[str, StageVerdict]) -> None:
        if pairs % 10 == 0:
            said = "  ".join(f"{name} {each.wall} {each.verdict}" for name, each in stages.items())
            console.print(f"    {pairs} pairs: {said}", highlight=False, markup=False)

    floors = floors_in_turns(sessions, job.cell.key)
    return outcome(hold(*trees, job, matters, Limits(budget), seed, tell, floors), matters)
