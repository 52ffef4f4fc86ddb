"""Measuring from the command line: progress, interruption, tables, reports and exit codes."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console

from bench import journal, runner
from bench.commands import invocation
from bench.commands.progress import LiveProgress, PlainProgress
from bench.commands.terminal import common_axes
from bench.device_checks import check_device
from bench.devices import Device, find_devices, select
from bench.environment import torch_cuda_version
from bench.records import Record, Run, Status
from bench.run_state import BAD, count_statuses
from suites.loader import Suite

INTERRUPTED = 130
"""Exit code of a run that was cut off."""
REPORT = "report.html"
"""The file of a report that a person opens."""

_PIPE_WIDTH = 120
"""Columns to write where nobody's window sets a limit."""


def open_console(stderr: bool = False) -> Console:
    """Return a console for standard output or error; a file or pipe has no width and gets one for tables."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_PIPE_WIDTH)


def devices_named(names: str) -> tuple[Device, ...]:
    """Return the devices that ``GPU=`` means; raises ``InputError`` for a name that fits none, and for a
    device that torch or Triton cannot use as things are."""
    cuda = torch_cuda_version()
    devices = select(names, find_devices(), torch_has_cuda=cuda is not None)
    for device in devices:
        check_device(device, cuda)
    return devices


def with_effort(suite: Suite, samples: int | None, time_budget: float | None) -> Suite:
    """Return the suite with as many samples and as much time for a cell as asked for; None is its own."""
    return replace(
        suite,
        min_samples=samples or suite.min_samples,
        time_budget_seconds=suite.time_budget_seconds if time_budget is None else time_budget,
    )


def resume_command(folder: Path) -> str:
    """Return what finishes the run in ``folder``, to be pasted."""
    return invocation.again("run", "bench", resume=folder)


def measure(
    folders: Iterable[Path],
    console: Console,
    retry: bool = False,
    cure: Callable[[Path], str] = resume_command,
    after: Callable[[Path], None] = lambda folder: None,
) -> int:
    """Measure what is left of each run, print its table and write its reports; return the exit code.

    Interrupted, it says which command finishes the run, by ``cure``; ``after`` is called with each run whose
    reports are written, before the last lines.
    """
    code = 0
    for folder in folders:
        cells = journal.read_head(folder)[1].cells
        known = common_axes(cells)
        showing = (
            LiveProgress(console, cells, known)
            if console.is_terminal
            else nullcontext(PlainProgress(console, known))
        )
        try:
            with showing as progress:
                records = runner.proceed(folder, progress, retry)
        except KeyboardInterrupt:
            message = "interrupted: every finished cell is kept; finish the rest with:"
            typer.echo(f"{message} {cure(folder)}", err=True)
            return INTERRUPTED
        print_and_write(folder, console, after)
        code = max(code, exit_code(records))
    return code


def print_and_write(
    folder: Path, console: Console, after: Callable[[Path], None] = lambda folder: None
) -> None:
    """Print the table of a run and write its reports into its folder; the last line is the report's path."""
    import reports

    reports.print_table(folder, console)
    reports.write_all(folder)
    after(folder)
    print_end(*journal.read_run(folder), folder, console)


def print_end(run: Run, records: Sequence[Record], folder: Path, console: Console) -> None:
    """Print how many cells are not ok, if any, and where the report is."""
    if (left := sum(record.status is not Status.OK for record in records)) > 0:
        statuses = count_statuses(record for record in records if record.status is not Status.OK)
        became = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in statuses.items())
        console.print(f"{left} of {len(run.cells)} cells not ok: {became}", highlight=False)
    console.print(f"report: {folder / REPORT}", soft_wrap=True, highlight=False, markup=False)


def is_drawn(folder: Path) -> bool:
    """Return whether the report of a run is there, drawn after its last record."""
    try:
        return (folder / REPORT).stat().st_mtime >= (folder / journal.JOURNAL_FILE).stat().st_mtime
    except FileNotFoundError:
        return False


def print_finished(folder: Path, console: Console) -> int:
    """Say that nothing is left of a run; return the exit code that it ended with."""
    run, records = journal.read_run(folder)
    again = {Status.FAILED, Status.TIMEOUT} & {record.status for record in records}
    retry = invocation.option("retry") + ("1" if invocation.by_make() else "")
    hint = f"; {retry} measures again what failed or timed out" if again else ""
    sentence = f"run {run.id} is finished: {len(records)} of {len(run.cells)} cells have a record{hint}"
    console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    print_end(run, records, folder, console)
    return exit_code(records)


def exit_code(records: Sequence[Record]) -> int:
    """Return 2 where every cell refused its input, 1 where nothing was measured or a cell failed, timed out
    or is invalid, else 0."""
    if records and all(record.details.get("refused") for record in records):
        return 2
    if any(record.status in BAD for record in records):
        return 1
    return 0 if any(record.status is Status.OK for record in records) else 1
