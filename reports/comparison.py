"""A comparison on the terminal: stages, then memory, quality and patches, then what is worse."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from bench.compare import CellComparison, Change, Comparison, StageComparison
from bench.records import Cell
from reports.columns import DISTURBED_NOTE, doubted, marked
from reports.document import Column, Table, notes, tabulate
from reports.naming import cell_label, merged, which
from reports.results import CellResult, distinct_stages
from reports.terminal import print_fitting
from reports.units import DASH, fixed, mebibytes, milliseconds

_TIMES = (
    "A and B are medians in ms of one repetition, which is all the clips or calls of a cell: not of a frame, "
    "as in a run's table"
)
_MEMORY = ("device_allocated_peak", "resident_peak")


@dataclass(frozen=True)
class _Named:
    """A compared cell, and what it is called."""

    result: CellResult
    name: str
    cell: CellComparison

    @property
    def stages(self) -> tuple[StageComparison, ...]:
        """The stages to tell of."""
        told = distinct_stages(stage.stage for stage in self.cell.stages)
        return tuple(stage for stage in self.cell.stages if stage.stage in told)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print how run B differs from run A.

    Times are medians in ms a repetition; a ratio above 1 means that B is slower.
    """
    a, b = comparison.run_a, comparison.run_b
    console.print(Text(f"A  {a.id}\nB  {b.id}"))
    for difference in comparison.allowed:
        console.print(Text(f"! allowed to differ: {difference}", style="dim"))
    named = _named(comparison)
    console.print()
    shown = print_fitting(_stage_table(named), console)
    console.print(Text(notes([shown]), style="dim"))
    console.print()
    print_fitting(_cell_table(named), console)
    console.print()
    _print_verdict(named, comparison.tolerance, console)


def _named(comparison: Comparison) -> list[_Named]:
    """Name each cell by the axes that vary; a cell outside both plans keeps its whole key."""
    plan = {cell.key: cell for cell in (*comparison.run_a.cells, *comparison.run_b.cells)}
    results = {key: CellResult(comparison.run_a, "", cell, None) for key, cell in plan.items()}
    planned = list(results.values())
    for cell in comparison.cells:
        outside = Cell(workload=cell.key, axes={})
        results.setdefault(cell.key, CellResult(comparison.run_a, "", outside, None))
    return [
        _Named(results[cell.key], cell_label(results[cell.key], planned), cell) for cell in comparison.cells
    ]


def _stage_table(named: Sequence[_Named]) -> Table:
    rows: list[tuple[_Named, StageComparison | None]] = [
        (each, stage) for each in named for stage in (each.stages or (None,))
    ]

    def interval(stage: StageComparison) -> str:
        return f"{stage.ratio.low:.3f} to {stage.ratio.high:.3f}"

    columns: list[Column[tuple[_Named, StageComparison | None]]] = [
        Column("cell", "cell", lambda row: row[0].name, numeric=False),
        Column("stage", "stage", lambda row: row[1].stage if row[1] else None, numeric=False),
        Column("a", "A", lambda row: row[1].median_a if row[1] else None, "ms", milliseconds, note=_TIMES),
        Column("b", "B", lambda row: row[1].median_b if row[1] else None, "ms", milliseconds, note=_TIMES),
        Column("ratio", "B/A", _ratio, "", marked(fixed(3))),
        Column("interval", "95 % interval", lambda row: interval(row[1]) if row[1] else None),
        Column(
            "verdict",
            "verdict",
            lambda row: row[1].verdict.value if row[1] else "not compared",
            numeric=False,
        ),
    ]
    return tabulate(columns, rows)


def _ratio(row: tuple[_Named, StageComparison | None]) -> float | None:
    named, stage = row
    return doubted(stage.ratio.estimate, named.cell.disturbed) if stage else None


def _cell_table(named: Sequence[_Named]) -> Table:
    def pair(changes: Sequence[Change], name: str, decimals: int) -> str | None:
        change = next((change for change in changes if change.name == name), None)
        return _arrow(f"{change.a:.{decimals}f}", f"{change.b:.{decimals}f}") if change else None

    def memory(each: _Named) -> str | None:
        found = {change.name: change for change in each.cell.memory}
        change = next((found[name] for name in _MEMORY if name in found), None)
        return _arrow(mebibytes(change.a), mebibytes(change.b)) if change else None

    columns: list[Column[_Named]] = [
        Column("cell", "cell", lambda each: each.name, numeric=False),
        Column("outcome", "status", lambda each: _statuses(each.cell), numeric=False),
        Column("memory", "memory", memory, "MiB"),
        Column("psnr", "PSNR", lambda each: pair(each.cell.quality, "psnr", 2), "dB"),
        Column("ssim", "SSIM", lambda each: pair(each.cell.quality, "ssim", 4), spare=2),
        Column("loss", "loss", lambda each: pair(each.cell.quality, "loss", 4), spare=1),
        Column("patches", "patches", lambda each: _patches(each.cell.same_patches), numeric=False),
    ]
    return tabulate(columns, named).without_empty()


def _arrow(a: str, b: str) -> str:
    """Say a value once where both are the same."""
    return a if a == b else f"{a} → {b}"


def _statuses(cell: CellComparison) -> str:
    a, b = (status.value.replace("_", " ") if status else DASH for status in (cell.status_a, cell.status_b))
    return _arrow(a, b)


def _patches(same: bool | None) -> str | None:
    return None if same is None else "same" if same else "different"


def _print_verdict(named: Sequence[_Named], tolerance: float, console: Console) -> None:
    results = [each.result for each in named]
    reasons = [
        (reason, each.result)
        for each in named
        for reason in dict.fromkeys((each.cell.reason_a, each.cell.reason_b))
        if reason
    ]
    for reason, cells in merged(reasons):
        console.print(Text(f"{which(cells, results)}: {reason}", style="dim"))
    worse = [(each.name, reason) for each in named for reason in each.cell.worse]
    for name, reason in worse:
        console.print(Text(f"✗ {name}: {reason}", style="red"))
    if any(each.cell.disturbed for each in named):
        console.print(Text(DISTURBED_NOTE, style="yellow"))
    warnings = [
        (warning, stage) for each in named for stage in each.cell.stages for warning in stage.ratio.warnings
    ]
    for warning, _ in sorted(merged(warnings), key=lambda entry: entry[0]):
        console.print(Text(f"! {warning}", style="dim"))
    beyond = f"beyond the tolerance of {100 * tolerance:.0f} %"
    if worse:
        console.print(
            Text(
                f"B is worse {beyond} in {len({name for name, _ in worse})} of {len(named)} cells.",
                style="red",
            )
        )
    else:
        console.print(Text(f"Nothing is worse {beyond}.", style="green"))
