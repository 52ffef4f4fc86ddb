"""``evaluate``: the published reconstruction evaluation, with its arguments, settings and files.

It is a run of the suite ``evaluate`` over the clips asked for. The published files are drawn into the run's
folder, as ``report`` draws them again, and copied to where the caller wants them.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from autogaze.errors import InputError
from bench import journal, runner
from bench.commands import options
from bench.commands.measuring import INTERRUPTED, devices_named, measure, open_console, with_effort
from bench.plan import make_plans
from suites.evaluation import EvaluatedClip, clips_of
from suites.loader import Suite, load_suite
from suites.preflight import video_frames
from suites.workload import Inputs

SUITE = "evaluate"


def evaluate(
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
        folder = _begun(resume)
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
    return runner.start(suite, plan, inputs, tuple(sys.argv), out)


def _begun(folder: Path) -> Path:
    """Return the folder of an evaluation that was cut off; raises ``InputError`` for any other run."""
    _, run = journal.read_head(folder)
    if run.suite != SUITE:
        raise InputError(
            f"run {run.id} is of suite {run.suite} and no evaluation: finish it with bench run --resume"
        )
    runner.check_resumable(run)
    return folder


def _carry_out(folder: Path, output_dir: Path, retry: bool) -> int:
    """Measure what is left of an evaluation and copy its files to ``output_dir``; return the exit code."""
    from reports.writing import EVALUATION_FOLDER

    def cure(folder: Path) -> str:
        return f"python -m bench evaluate --resume {folder} --output-dir {output_dir}"

    console = open_console()
    code = measure([folder], console, retry, cure)
    if code != INTERRUPTED:
        source = folder / EVALUATION_FOLDER
        shutil.copytree(source, output_dir, dirs_exist_ok=True)
        files = sum(path.is_file() for path in source.rglob("*"))
        console.print(f"{files} files in {output_dir}", soft_wrap=True, highlight=False, markup=False)
    return code
