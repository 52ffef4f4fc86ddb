"""``evaluate``: the published reconstruction evaluation, with its arguments, settings and files.

It is a run of the suite ``evaluate`` over the clips asked for. The published files are drawn into the run's
folder, as ``report`` draws them again, and copied to where the caller wants them.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from autogaze.errors import InputError
from bench import journal, runner
from bench.commands import invocation, options
from bench.commands.measuring import (
    devices_named,
    is_drawn,
    measure,
    open_console,
    print_finished,
    with_effort,
)
from bench.commands.resuming import given_options, refuse_other
from bench.plan import make_plans
from bench.run_names import find_run
from suites.evaluation import EvaluatedClip, clips_of
from suites.loader import Suite, load_suite
from suites.preflight import video_frames
from suites.workload import Inputs

SUITE = "evaluate"


def evaluate(
    context: typer.Context,
    video: options.Video = None,
    output_dir: options.OutputDir = options.RESULTS / "evaluation",
    clip_len: options.ClipLength = 16,
    clip_starts: options.ClipStarts = "",
    max_clips: options.MaxClips = 4,
    viz_clips: options.VizClips = 1,
    attn_mode: options.AttentionMode = "sdpa",
    device: options.EvaluationDevice = "auto",
    autogaze_model: options.GazeModel = None,
    autogaze_revision: options.GazeRevision = None,
    task_asset_repo: options.TaskRepo = None,
    task_asset_revision: options.TaskAssetRevision = None,
    task_asset_dir: options.TaskFolder = None,
    seed: options.Seed = 0,
    samples: options.Samples = None,
    time_budget: options.TimeBudget = None,
    out: options.Out = options.RESULTS,
    resume: options.Resume = None,
    retry: options.Retry = False,
) -> None:
    """Reconstruct clips at the seven published settings; write the published evaluator's files."""
    journal.check_writable(output_dir)
    if resume is None:
        inputs = Inputs(
            video=video or None,
            checkpoint=autogaze_model,
            task_checkpoint=str(task_asset_dir) if task_asset_dir else task_asset_repo,
            revision=autogaze_revision,
            task_revision=task_asset_revision,
            seed=seed,
            pictured_clips=viz_clips,
        )
        starts = parse_starts(clip_starts)
        clips = clips_of(video_frames(inputs.video), clip_len, starts, max_clips)
        suite = load_suite(SUITE, _axes(clips, clip_len, attn_mode))
        folder = _begin(with_effort(suite, samples, time_budget), device, inputs, out)
    else:
        folder = find_run(resume, out)
        _check_begun(folder, given_options(context), retry)
    raise typer.Exit(_carry_out(folder, output_dir, retry))


def parse_starts(text: str) -> tuple[int, ...]:
    """Read ``--clip-starts``: frame numbers joined by commas."""
    try:
        starts = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"clip starts '{text}' must be frame numbers joined by commas, such as 0,16,32"
        ) from None
    if any(start < 0 for start in starts):
        raise InputError(f"clip starts '{text}' must not be negative")
    return starts


def _axes(clips: Sequence[EvaluatedClip], clip_len: int, attention: str) -> dict[str, list[str]]:
    return {"clip": [clip.name for clip in clips], "chunk": [str(clip_len)], "attention": [attention]}


def _begin(suite: Suite, device: str, inputs: Inputs, out: Path) -> Path:
    """Write the head of a new run; return its folder."""
    devices = devices_named(device)
    if len(devices) > 1:
        raise InputError(f"device '{device}' names {len(devices)} devices, and one evaluates: name one")
    (plan,) = make_plans(suite, devices)
    return runner.start(suite, plan, inputs, invocation.typed(), out)


def _check_begun(folder: Path, given: Mapping[str, Any], retry: bool) -> None:
    """Raise ``InputError`` for a run that is no evaluation, was begun with other options than are ``given``
    now, or has cells left that would not be of one kind with those measured."""
    run, records = journal.read_run(folder)
    if run.suite != SUITE:
        raise InputError(
            f"run {run.id} is of suite {run.suite} and no evaluation: finish it with "
            f"{invocation.again('run', 'bench', resume=folder)}"
        )
    refuse_other(run, given, {})
    if journal.unfinished(run, records, retry):
        runner.check_resumable(run)


def _carry_out(folder: Path, output_dir: Path, retry: bool) -> int:
    """Measure what is left of an evaluation and copy its files to ``output_dir``; return the exit code."""
    from reports.writing import EVALUATION_FOLDER

    console = open_console()

    def cure(folder: Path) -> str:
        return invocation.again("evaluate", "evaluate", resume=folder, output_dir=output_dir)

    def copy(folder: Path) -> None:
        source = folder / EVALUATION_FOLDER
        shutil.copytree(source, output_dir, dirs_exist_ok=True)
        files = sum(path.is_file() for path in source.rglob("*"))
        console.print(f"{files} files in {output_dir}", soft_wrap=True, highlight=False, markup=False)

    if not journal.unfinished(*journal.read_run(folder), retry) and is_drawn(folder):
        copy(folder)
        return print_finished(folder, console)
    return measure([folder], console, retry, cure, copy)
