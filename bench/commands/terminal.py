"""What the command line shows before and while it measures."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table

from bench.plan import Plan
from bench.records import AxisValue, Cell, Record, Status

_BAR_WIDTH = 8


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


def common_axes(cells: Sequence[Cell]) -> frozenset[str]:
    """Return the axes of which all cells have the same value, the workload among them; none where there is
    nothing else to tell a cell by."""
    names = {"workload", *(name for cell in cells for name in cell.axes)}
    common = {name for name in names if len({_value(cell, name) for cell in cells}) == 1}
    return frozenset(common if common < names else ())


def _value(cell: Cell, name: str) -> AxisValue:
    return cell.workload if name == "workload" else cell.axes.get(name)


def describe_cell(cell: Cell, known: Collection[str] = ()) -> str:
    """Return workload and axis values, short enough to read: ``end_to_end ratio_0.25 chunk=16 float32``; axes
    that are ``known`` are left out."""
    values = {"workload": cell.workload} | cell.axes
    return " ".join(
        value if isinstance(value, str) else f"{name}={value}"
        for name, value in values.items()
        if name not in known
    )


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
    what = _status(record) + (f": {record.reason}" if record.reason else "")
    return f"{what} ({spoken_time(record.elapsed_seconds)})"


def _status(record: Record) -> str:
    return record.status.replace("_", " ")


class PlainProgress:
    """A line when a cell starts and one when it ends: for logs and pipes.

    Axes that are ``known`` are not said again with every cell.
    """

    def __init__(self, console: Console, known: Collection[str] = ()) -> None:
        self._console, self._known = console, known

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float) -> None:
        what = describe_cell(cell, self._known)
        self._say(f"[{number}/{total}] {what} (about {spoken_time(seconds_left)} left)")

    def phase(self, name: str) -> None:
        return

    def end(self, record: Record) -> None:
        self._say(f"    {outcome(record)}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class BarProgress:
    """A bar with the cell, what it does, the count and the time left: for terminals.

    Axes that are ``known`` are not said again with every cell.
    """

    def __init__(self, console: Console, known: Collection[str] = ()) -> None:
        # Where the width does not suffice, it is the cell's name that is cut.
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._bar = Progress(
            TextColumn("{task.description}", markup=False, table_column=rest),
            BarColumn(_BAR_WIDTH),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            console=console,
            transient=True,
            expand=True,
        )
        self._known = known
        self._task: TaskID | None = None
        self._cell = ""
        self._reason: str | None = None

    def __enter__(self) -> "BarProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float) -> None:
        self._cell = describe_cell(cell, self._known)
        done, left = number - 1, f"about {spoken_time(seconds_left)}"
        if self._task is None:
            self._task = self._bar.add_task(self._cell, total=total, completed=done, left=left)
        self._bar.update(self._task, description=self._cell, completed=done, left=left)

    def phase(self, name: str) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=f"{self._cell} · {name}")

    def end(self, record: Record) -> None:
        if self._task is not None:
            self._bar.advance(self._task)
        if record.status is not Status.OK:
            said_before = record.reason is not None and record.reason == self._reason
            what = f"{_status(record)}, for the same reason" if said_before else outcome(record)
            self._bar.console.print(f"{describe_cell(record.cell, self._known)}: {what}", markup=False)
        self._reason = record.reason
