"""What the command line shows before and while it measures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.plan import Plan
from bench.records import Cell, Record, Status

if TYPE_CHECKING:
    from suites.evaluation import Evaluated


def print_plan(plan: Plan, console: Console) -> None:
    """Print every cell with what it is expected to cost; guesses are marked with '~'."""
    table = Table(
        title=f"{len(plan.cells)} cells on {plan.device.name} ({plan.device.torch_name})",
        title_justify="left",
    )
    for name, justify in (("#", "right"), ("cell", "left"), ("time", "right"), ("memory", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for number, (cell, estimate) in enumerate(zip(plan.cells, plan.estimates), start=1):
        mark = "~" if estimate.rough else ""
        memory = f"{mark}{estimate.memory_bytes / 2**30:.1f} GiB"
        table.add_row(str(number), describe_cell(cell), mark + spoken_time(estimate.seconds), memory)
    console.print(table)
    console.print(
        f"about {spoken_time(plan.seconds)} in all, one cell after another; "
        f"peak memory {plan.memory_bytes / 2**30:.1f} GiB"
    )
    if plan.left_out:
        console.print(f"{plan.left_out} more cells would mean nothing with these values and are left out")
    if any(estimate.rough for estimate in plan.estimates):
        console.print("~ is a rough guess: that cell has not been measured on this device yet")


def describe_cell(cell: Cell) -> str:
    """Return workload and axis values, short enough to read: ``end_to_end ratio_0.25 chunk=16 float32``."""
    values = [value if isinstance(value, str) else f"{name}={value}" for name, value in cell.axes.items()]
    return " ".join((cell.workload, *values))


def spoken_time(seconds: float) -> str:
    """Return a time as people say it: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def outcome(record: Record) -> str:
    """Return status, reason and time of a finished cell in one line."""
    what = record.status.replace("_", " ") + (f": {record.reason}" if record.reason else "")
    return f"{what} ({spoken_time(record.elapsed_seconds)})"


class PlainProgress:
    """A line when a cell starts and one when it ends: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float) -> None:
        self._say(f"[{number}/{total}] {describe_cell(cell)} (about {spoken_time(seconds_left)} left)")

    def phase(self, name: str) -> None:
        return

    def end(self, record: Record) -> None:
        self._say(f"    {outcome(record)}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarProgress:
    """A bar with the cell, what it does, the count and the time left: for terminals."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._cell = ""

    def __enter__(self) -> "BarProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float) -> None:
        self._cell = describe_cell(cell)
        if self._task is None:
            self._task = self._bar.add_task(self._cell, total=total, left="")
        self._bar.update(
            self._task,
            description=self._cell,
            completed=number - 1,
            left=f"about {spoken_time(seconds_left)}",
        )

    def phase(self, name: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=f"{self._cell} · {name}")

    def end(self, record: Record) -> None:
        if self._task is not None:
            self._bar.advance(self._task)
        if record.status is not Status.OK:
            self._bar.console.print(f"{describe_cell(record.cell)}: {outcome(record)}", markup=False)


@contextmanager
def evaluation_progress(console: Console) -> "Iterator[Callable[[Evaluated, float, float], None]]":
    """Show how an evaluation gets on: a bar with the time left, or a line for each clip and setting.

    Yields what hears of each with its gaze and reconstruction seconds.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading", total=None)

        def on_result(evaluated: "Evaluated", gaze_seconds: float, reconstruction_seconds: float) -> None:
            name = f"{evaluated.clip_name} {evaluated.setting.name}"
            bar.update(task, total=evaluated.total, advance=1, description=name)
            if not console.is_terminal:
                times = f"gaze {gaze_seconds:.2f} s, reconstruction {reconstruction_seconds:.2f} s"
                console.print(f"{name}: {times}")

        yield on_result
