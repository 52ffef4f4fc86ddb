"""Measuring from the command line: progress, interruption, tables, reports and exit codes."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console

from bench import journal, runner
from bench.commands.progress import LiveProgress, PlainProgress
from bench.commands.terminal import common_axes
from bench.devices import Device, find_devices, select
from bench.environment import torch_cuda_version
from bench.records import Record, Status
from suites.loader import Suite

INTERRUPTED = 130
"""Exit code of a run that was cut off."""

_PIPE_WIDTH = 120
"""Columns to write where nobody's window sets a limit."""


def open_console() -> Console:
    """Return a console for standard output; a file or pipe has no width, and gets the tables' own."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


def devices_named(names: str) -> tuple[Device, ...]:
    """Return the devices that ``GPU=`` means; raises ``InputError`` for a name that fits none."""
    return select(names, find_devices(), torch_has_cuda=torch_cuda_version() is not None)


def with_effort(suite: Suite, samples: int | None, time_budget: float | None) -> Suite:
    """Return the suite with as many samples and as much time for a cell as asked for; None is its own."""
    return replace(
        suite,
        min_samples=samples or suite.min_samples,
        time_budget_seconds=suite.time_budget_seconds if time_budget is None else time_budget,
    )


def resume_command(folder: Path) -> str:
    """Return what finishes the run in ``folder``."""
    return f"python -m bench run --resume {folder}"


def measure(
    folders: Iterable[Path],
    console: Console,
    retry: bool = False,
    cure: Callable[[Path], str] = resume_command,
) -> int:
    """Measure what is left of each run, print its table and write its reports; return the exit code.

    Interrupted, it says which command finishes the run, by ``cure``.
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
        print_and_write(folder, console)
        code = max(code, _exit_code(records))
    return code


def print_and_write(folder: Path, console: Console) -> None:
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
