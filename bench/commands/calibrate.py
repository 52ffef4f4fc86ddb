"""``calibrate``: find this machine's noise floor, from this tree measured against itself."""

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from typer import Option

from bench.calibration import FEWEST, Session, add_session, spread_between_runs, spread_in_turns
from bench.commands import options
from bench.commands.machine import print_json
from bench.commands.measuring import devices_named, open_console
from bench.commands.regress import narrowed, only_one
from bench.commands.terminal import describe_cell
from bench.devices import Device
from bench.environment import describe
from bench.job import Job
from bench.margins import ALPHA
from bench.records import AxisValue
from bench.turns.base import head_tree
from bench.turns.cells import definition
from bench.turns.recording import PAIRS_RECORDED, Round, jobs_of, noise_of, record_round
from suites.loader import load_suite

Processes = Annotated[int, Option(min=FEWEST, help="Pairs of processes a cell.")]
Pairs = Annotated[int, Option(min=1, help="Repetitions of each process.")]


def calibrate(
    suite: options.Suite = "smoke",
    gpu: options.Gpu = "auto",
    attn: options.Attention = None,
    chunk: options.Chunk = None,
    dtype: options.Dtype = None,
    setting: options.Setting = None,
    batch: options.Batch = None,
    engine: options.Engine = None,
    seed: options.Seed = 0,
    processes: Processes = 8,
    pairs: Pairs = PAIRS_RECORDED,
    json: options.Json = False,
) -> None:
    """Measure this tree against itself, and keep how far two runs of it differ here.

    regress and compare use it: what is below this floor is neither slower nor faster. Sessions add up.
    """
    overrides = narrowed(suite, attn, chunk, dtype, setting, batch, engine)
    (device,) = only_one(devices_named(gpu))
    console = open_console(stderr=json)
    found = definition(head_tree(), suite, overrides)
    started, began = datetime.now(UTC), time.monotonic()
    rounds = _measured(jobs_of(found, device, seed), processes, pairs, seed, console)
    fields = describe(device).fields
    every = [each for of_cell in rounds.values() for each in of_cell]
    session = Session(
        started=started,
        seconds=time.monotonic() - began,
        commit=_text(fields.get("git.commit")),
        dirty=bool(fields.get("git.dirty")),
        suite=load_suite(suite).name,
        suite_version=found.version,
        others=sum(each.others for each in every) / len(every),
        cells={key: noise_of(of_cell) for key, of_cell in rounds.items()},
    )
    path = add_session(fields, session)
    _print(session, device, console)
    console.print(f"kept in {path}", soft_wrap=True, highlight=False, markup=False)
    if json:
        print_json({"file": path, "device_name": device.name, **_document(session)})
    raise typer.Exit(0)


def _text(value: AxisValue) -> str | None:
    return None if value is None else str(value)


def _measured(
    jobs: Sequence[Job], processes: int, pairs: int, seed: int, console: Console
) -> dict[str, list[Round]]:
    """Measure a round of each cell, and again, so that the processes of a cell lie as far apart as can be."""
    trees = head_tree(), head_tree()
    coin = random.Random(seed)
    rounds: dict[str, list[Round]] = {job.cell.key: [] for job in jobs}
    for place in range(processes):
        for job in jobs:
            said = f"round {place + 1} of {processes}: {describe_cell(job.cell)}"
            console.print(said, highlight=False, markup=False)
            rounds[job.cell.key].append(record_round(trees, (job, job), coin, pairs))
    return rounds


def _print(session: Session, device: Device, console: Console) -> None:
    console.print(f"noise floor of {device.name}, {session}", highlight=False, markup=False)
    for key, stage, runs, turns in _floors(session):
        said = f"    {key} {stage}: runs differ by up to {runs - 1:.1%}, in turns by {turns - 1:.1%}"
        console.print(said, soft_wrap=True, highlight=False, markup=False)


def _floors(session: Session) -> list[tuple[str, str, float, float]]:
    """Return cell, stage, and the ratios that two runs, and two processes in turns, hardly ever exceed."""
    found = []
    for key, stages in session.cells.items():
        for stage in stages:
            runs, turns = (of([session], key, stage) for of in (spread_between_runs, spread_in_turns))
            if runs and turns:
                found.append((key, stage, runs.floor(ALPHA), turns.floor(ALPHA)))
    return found


def _document(session: Session) -> dict[str, object]:
    floors: dict[str, dict[str, object]] = {}
    for key, stage, runs, turns in _floors(session):
        floors.setdefault(key, {})[stage] = {"runs_ratio": runs, "turns_ratio": turns}
    return {
        "started": session.started.isoformat(),
        "process_seconds": session.seconds,
        "commit": session.commit,
        "dirty": session.dirty,
        "suite": session.suite,
        "suite_version": session.suite_version,
        "other_programs_cpu_share": session.others,
        "alpha": ALPHA,
        "cells": [{"cell": key, "stages": stages} for key, stages in floors.items()],
    }
