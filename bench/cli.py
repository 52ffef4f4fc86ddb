"""The command line.

``python -m bench run``       measure a suite, print its table, write its report
``python -m bench compare``   say whether one run is worse than another
``python -m bench report``    one report over any number of runs
``python -m bench import``    results of pytest-benchmark, as a run that can be reported and compared
``python -m bench evaluate``  the published reconstruction evaluation
``python -m bench gpu-check`` everything that wants a GPU: suites, tests, and the goals met
``python -m bench doctor``    what can run here, what cannot, and why

Exit codes: 0 done, 1 something failed or is worse, 2 input that cannot be used, 130 interrupted.
"""

import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from autogaze.errors import InputError
from bench.commands import gpu_check as checks
from bench.compare import TOLERANCE
from bench.compare import compare as compare_runs
from bench.records import Record, Status
from suites.workload import Inputs

app = typer.Typer(
    name="bench",
    help="Measure AutoGaze: latency, memory, energy and quality, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Geometry = Literal["square", "center_crop"]

_AXES = {
    "attn": "attention",
    "chunk": "chunk",
    "dtype": "dtype",
    "setting": "setting",
    "batch": "batch",
    "engine": "engine",
}
"""Option to the axis it replaces."""

_PIPE_WIDTH = 120
"""Columns to write where nobody's window sets a limit."""


@app.command()
def run(
    suite: Annotated[str, typer.Option(help="Name of a suite, or path of a TOML file.")] = "default",
    gpu: Annotated[
        str, typer.Option(help="auto, cpu, or names such as h100,rtx3090: one run each.")
    ] = "auto",
    attn: Annotated[str | None, typer.Option(help="Attention backends, comma separated.")] = None,
    chunk: Annotated[str | None, typer.Option(help="Frames gazed at together, comma separated.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16, comma separated.")] = None,
    setting: Annotated[str | None, typer.Option(help="Gaze settings such as ratio_0.25,task_0.70.")] = None,
    batch: Annotated[str | None, typer.Option(help="Videos at a time, comma separated.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto, eager, native, graph, triton, released, comma separated.")
    ] = None,
    video: Annotated[
        str | None, typer.Option(help="Video file; the project's own clip if not given.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Gaze model: a folder or a hub id.")] = None,
    task_checkpoint: Annotated[str | None, typer.Option(help="Reconstructor: a folder or a hub id.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the gaze model on the hub.")] = None,
    task_revision: Annotated[
        str | None, typer.Option(help="Revision of the reconstructor on the hub.")
    ] = None,
    upstream: Annotated[
        str | None, typer.Option(help="Checkout of the released code, to be measured beside ours.")
    ] = None,
    upstream_python: Annotated[
        str | None, typer.Option(help="The interpreter that has what it requires; this one if not given.")
    ] = None,
    geometry: Annotated[Geometry, typer.Option(help="How video that is not square becomes so.")] = "square",
    seed: Annotated[int, typer.Option(help="Seed of anything random.")] = 0,
    samples: Annotated[int | None, typer.Option(min=1, help="Timed repetitions a cell, at least.")] = None,
    time_budget: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds of timed repetitions a cell.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that the run's folder is made in.")] = Path("results"),
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the cells and what they cost; measure nothing.")
    ] = False,
    resume: Annotated[Path | None, typer.Option(help="Finish the run in this folder.")] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="With --resume: failures and timeouts again.")
    ] = False,
) -> None:
    """Measure a suite on one or several devices."""
    from bench import journal, runner
    from bench.commands.terminal import print_plan
    from bench.devices import find_devices, select
    from bench.environment import torch_cuda_version
    from bench.plan import make_plans
    from suites.loader import load_suite

    console = _console()
    if resume is not None:
        runner.check_resumable(journal.read_head(resume)[1])
        raise typer.Exit(_measure([resume], console, retry))
    typed = {
        "attn": attn,
        "chunk": chunk,
        "dtype": dtype,
        "setting": setting,
        "batch": batch,
        "engine": engine,
    }
    overrides = {_AXES[option]: values for option, text in typed.items() if (values := _listed(text))}
    if upstream_python and not upstream:
        raise InputError(
            f"UPSTREAM_PYTHON {upstream_python} has nothing to run: name a checkout with UPSTREAM="
        )
    loaded = load_suite(suite, overrides, ["upstream"] if upstream else [])
    loaded = replace(
        loaded,
        min_samples=samples or loaded.min_samples,
        time_budget_seconds=loaded.time_budget_seconds if time_budget is None else time_budget,
    )
    devices = select(gpu, find_devices(), torch_has_cuda=torch_cuda_version() is not None)
    plans = make_plans(loaded, devices, out)
    if plan:
        for each in plans:
            print_plan(each, console)
        return
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
    folders = (runner.start(loaded, each, inputs, tuple(sys.argv), out) for each in plans)
    raise typer.Exit(_measure(folders, console))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of the run to compare with.")],
    b: Annotated[Path, typer.Argument(help="Folder of the run to judge.")],
    tolerance: Annotated[float, typer.Option(help="Share by which time or memory may grow.")] = TOLERANCE,
    allow: Annotated[
        list[str] | None, typer.Option(help="A difference to accept: driver, threads ...")
    ] = None,
) -> None:
    """Compare run B with run A: exit code 0 nothing worse, 1 worse, 2 not comparable."""
    import reports

    comparison = compare_runs(a, b, tolerance, allow or ())
    reports.print_comparison(comparison, _console())
    raise typer.Exit(comparison.exit_code)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, of any machine and GPU.")],
    out: Annotated[Path, typer.Option(help="Folder to write the report into.")] = Path("results/report"),
) -> None:
    """Write one report over several runs; over a single one, draw its own report again."""
    import reports
    from bench import journal

    for folder in runs:
        journal.read_head(folder)
    if len(runs) > 1:
        journal.check_writable(out)
    written = reports.write_all(runs[0]) if len(runs) == 1 else reports.write_comparable(runs, out)
    for path in written:
        typer.echo(path)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON file that pytest-benchmark wrote: --benchmark-json.")],
    out: Annotated[Path, typer.Option(help="Folder that the run's folder is made in.")] = Path("results"),
) -> None:
    """Make a run of the results of pytest-benchmark, print its table, write its report."""
    from bench.commands.pytest_benchmark import import_results

    _report(import_results(file, out, tuple(sys.argv)), _console())


@app.command()
def evaluate(
    video: Annotated[Path | None, typer.Option(help="Video; the project's own clip if not given.")] = None,
    output_dir: Annotated[Path, typer.Option(help="Folder for tables, plots and pictures.")] = Path(
        "results/evaluation"
    ),
    clip_len: Annotated[int, typer.Option(min=1, help="Frames of a clip.")] = 16,
    clip_starts: Annotated[
        str, typer.Option(help="First frames, such as 0,16; else one clip on another.")
    ] = "",
    max_clips: Annotated[int, typer.Option(min=1, help="Most clips to evaluate.")] = 4,
    viz_clips: Annotated[int, typer.Option(min=0, help="Clips to draw pictures of.")] = 1,
    attn_mode: Annotated[str, typer.Option(help="Attention backend.")] = "sdpa",
    device: Annotated[str, typer.Option(help="As GPU=: auto, cpu, or a name.")] = "auto",
    autogaze_model: Annotated[
        str | None, typer.Option(help="Gaze model: a folder or a hub id such as nvidia/AutoGaze.")
    ] = None,
    autogaze_revision: Annotated[str | None, typer.Option(help="Its revision; else the pinned one.")] = None,
    task_asset_repo: Annotated[
        str | None, typer.Option(help="Reconstructor on the hub, such as bfshi/VideoMAE_AutoGaze.")
    ] = None,
    task_asset_revision: Annotated[
        str | None, typer.Option(help="Its revision; else the pinned one.")
    ] = None,
    task_asset_dir: Annotated[Path | None, typer.Option(help="Reconstructor in a folder.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of anything random.")] = 0,
) -> None:
    """Reconstruct clips at the seven published settings; write the published evaluator's files."""
    from bench.commands import evaluate as evaluation
    from bench.commands.terminal import evaluation_progress
    from bench.devices import find_devices, select
    from bench.environment import torch_cuda_version
    from bench.journal import check_writable
    from suites.workload import Inputs

    check_writable(output_dir)
    (found,) = select(device, find_devices(), torch_has_cuda=torch_cuda_version() is not None)
    request = evaluation.Request(
        video=video,
        output_dir=output_dir,
        inputs=Inputs(
            device=found.torch_name,
            checkpoint=autogaze_model,
            task_checkpoint=str(task_asset_dir) if task_asset_dir else task_asset_repo,
            revision=autogaze_revision,
            task_revision=task_asset_revision,
            seed=seed,
        ),
        attn_mode=attn_mode,
        clip_len=clip_len,
        clip_starts=evaluation.parse_starts(clip_starts),
        max_clips=max_clips,
        viz_clips=viz_clips,
    )
    console = _console()
    with evaluation_progress(console) as on_result:
        written = evaluation.run(request, on_result)
    console.print((output_dir / "summary.txt").read_text(), soft_wrap=True, highlight=False, markup=False)
    console.print(f"{len(written)} files in {output_dir}", soft_wrap=True, highlight=False)


@app.command("gpu-check")
def gpu_check(
    gpu: Annotated[
        str, typer.Option(help="auto, or a name such as h100; cpu to try the steps out.")
    ] = "auto",
    out: Annotated[Path, typer.Option(help="Folder that the check's folder is made in.")] = Path("results"),
    limit: Annotated[
        float, typer.Option(min=1.0, help="Seconds for all of it; each step has its share.")
    ] = checks.LIMIT_SECONDS,
) -> None:
    """Run the suites engines, kernels and attention and the GPU tests; say which goals are met."""
    from bench.devices import find_devices, select
    from bench.environment import torch_cuda_version

    device = select(gpu, find_devices(), torch_has_cuda=torch_cuda_version() is not None)[0]
    checks.refuse_cpu(device, gpu)
    folder = checks.make_folder(out, device)
    outcomes = checks.check(folder, checks.standard_steps(folder, device), device, limit, typer.echo)
    typer.echo((folder / checks.SUMMARY_FILE).read_text(encoding="utf-8"))
    typer.echo(f"all of it: {folder}")
    raise typer.Exit(int(any(outcome.failed for outcome in outcomes)))


@app.command()
def doctor() -> None:
    """Say what can run here, what cannot, why, and what to install."""
    from rich.markup import escape
    from rich.table import Table

    from bench.commands.doctor import examine

    table = Table()
    for column in ("area", "what", "usable", "remark"):
        table.add_column(column, overflow="fold")
    for finding in examine():
        table.add_row(
            finding.area, finding.subject, "yes" if finding.usable else "no", escape(finding.remark)
        )
    _console().print(table)


def _console() -> Console:
    """Return a console for standard output; a file or pipe has no width, and gets the tables' own."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def _listed(text: str | None) -> list[str]:
    """Return the values of a comma list; none for one that is not given or empty, as make passes it."""
    return [value.strip() for value in (text or "").split(",") if value.strip()]


def _measure(folders: Iterable[Path], console: Console, retry: bool = False) -> int:
    """Measure what is left of each run, print its table and write its reports; return the exit code."""
    from bench import runner
    from bench.commands.terminal import BarProgress, PlainProgress

    code = 0
    for folder in folders:
        showing = BarProgress(console) if console.is_terminal else nullcontext(PlainProgress(console))
        try:
            with showing as progress:
                records = runner.proceed(folder, progress, retry)
        except KeyboardInterrupt:
            cure = f"python -m bench run --resume {folder}"
            typer.echo(f"interrupted: every finished cell is kept; finish the rest with: {cure}", err=True)
            return 130
        _report(folder, console)
        code = max(code, _exit_code(records))
    return code


def _report(folder: Path, console: Console) -> None:
    """Print the table of a run and write its reports into its folder."""
    import reports

    reports.print_table(folder, console)
    written = reports.write_all(folder)
    console.print(f"report: {written[0]}", soft_wrap=True, highlight=False)


def _exit_code(records: Sequence[Record]) -> int:
    """Return 0 where something was measured; else 2 where every cell refused its input, 1 where not."""
    if any(record.status is Status.OK for record in records):
        return 0
    return 2 if all(record.details.get("refused") for record in records) else 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; input that cannot be used is a sentence on standard error and exit code 2."""
    # A job that is cancelled ends like one that is interrupted: its journal kept, its child killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(args=arguments, prog_name="bench")
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
