"""What the command line shows before and while it measures."""

from collections.abc import Callable, Collection, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from bench.plan import Estimate, Plan
from bench.records import BUSY, AxisValue, Cell, Record, Status

_GIB = 2**30
_DASH = "–"
_NOT_HERE = {Status.UNSUPPORTED: "not here", Status.OUT_OF_MEMORY: "no room"}
"""What stands in the place of a time where a cell is not started."""


def print_plan(plan: Plan, console: Console) -> None:
    """Print every cell with what it is expected to cost; those that cannot run here are marked."""
    table = Table(
        title=f"{len(plan.cells)} cells on {plan.device.name} ({plan.device.torch_name})",
        title_justify="left",
    )
    for name, justify in (("#", "right"), ("cell", "left"), ("time", "right"), ("memory", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for number, (cell, estimate) in enumerate(zip(plan.cells, plan.estimates), start=1):
        mark = "~" if estimate.rough else ""
        memory = f"{mark}{estimate.memory_bytes / _GIB:.1f} GiB"
        time = f"{mark}{spoken_range(estimate.low, estimate.high)}"
        if estimate.obstacle is not None:
            time, memory = _NOT_HERE[estimate.status], _DASH
        table.add_row(str(number), describe_cell(cell), time, memory)
    console.print(table, highlight=False)
    for line in _plan_lines(plan):
        console.print(line, highlight=False, markup=False)


def _plan_lines(plan: Plan) -> Iterator[str]:
    """Say what the whole costs, what is not started and why, and what the marks mean."""
    runs = sum(estimate.obstacle is None for estimate in plan.estimates)
    yield (
        f"about {spoken_time(plan.seconds)} in all ({spoken_range(plan.low, plan.high)}), one cell after "
        f"another; peak memory {plan.memory_bytes / _GIB:.1f} GiB"
    )
    if plan.others > BUSY:
        yield (
            f"! other programs use {plan.others:.0%} of the CPUs now: times are for that, and longer or "
            "shorter as it changes"
        )
    if plan.left_out:
        yield f"{plan.left_out} more cells would mean nothing with these values and are left out"
    if runs < len(plan.cells):
        yield f"{len(plan.cells) - runs} of {len(plan.cells)} cells are not started:"
    for reason, numbers in _numbered(plan, lambda estimate: estimate.obstacle):
        yield f"  {numbers}: {reason}"
    for remark, numbers in _numbered(plan, lambda estimate: estimate.remark):
        yield f"  {numbers}: {remark}"
    if any(estimate.rough for estimate in plan.estimates):
        yield "~ is from work and the pace of this device: that cell has not been measured here yet"


def _numbered(plan: Plan, said: Callable[[Estimate], str | None]) -> list[tuple[str, str]]:
    """Return each thing that is said of cells once, with their numbers: ``cells 2-5, 8``."""
    found: dict[str, list[int]] = {}
    for number, estimate in enumerate(plan.estimates, start=1):
        if (what := said(estimate)) is not None:
            found.setdefault(what, []).append(number)
    return [(what, f"cell{'s' * (len(numbers) > 1)} {_runs(numbers)}") for what, numbers in found.items()]


def _runs(numbers: Sequence[int]) -> str:
    """Write numbers that follow each other as one: ``2-5, 8``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


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


def spoken_range(low: float, high: float) -> str:
    """Return two times, from one to the other, as one where they are spoken alike: ``2 to 5 s``."""
    first, last = spoken_time(low), spoken_time(high)
    if first == last:
        return last
    number, _, unit = first.partition(" ")
    return f"{number if unit == last.partition(' ')[2] else first} to {last}"


def outcome(record: Record) -> str:
    """Return status, reason and time of a finished cell in one line."""
    what = status_text(record) + (f": {record.reason}" if record.reason else "")
    return f"{what} ({spoken_time(record.elapsed_seconds)})"


def status_text(record: Record) -> str:
    """Return a status as people write it: ``out of memory``."""
    return record.status.replace("_", " ")
