"""A comparison on the terminal: stages, then memory, quality and patches, then what is worse or undecided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from bench.compare import CellComparison, Change, Comparison
from bench.margins import UNCALIBRATED
from bench.recorded import StageComparison
from bench.records import Cell
from bench.statistics import samples_needed
from bench.verdicts import Verdict
from reports.columns import DISTURBED_NOTE, doubted, marked
from reports.document import Column, Table, notes, tabulate
from reports.naming import cell_label, merged, which
from reports.results import CellResult, distinct_stages
from reports.terminal import print_fitting
from reports.units import DASH, fixed, mebibytes, milliseconds

_TIMES = (
    "A and B are medians in ms, of one frame, one clip, or one repetition where a cell has neither, as the "
    "column per says"
)
_CLOCK = "2nd clock is B/A in processor time, in device time on a GPU"
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

    @property
    def unit(self) -> tuple[str, float]:
        """What times are given per, and how many of these a repetition has."""
        if self.cell.frames:
            return "frame", self.cell.frames
        return ("clip", self.cell.clips) if self.cell.clips else ("repetition", 1.0)

    def share(self, seconds: float | None) -> float | None:
        """Return what one unit has of the seconds of a repetition."""
        return None if seconds is None else seconds / self.unit[1]


_Row = tuple[_Named, StageComparison | None]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print how run B differs from run A.

    Times are medians in ms of a frame, clip or repetition; a ratio above 1 means that B is slower.
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
    _print_whole(comparison, console)
    _print_verdict(named, comparison, console)


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
    rows: list[_Row] = [(each, stage) for each in named for stage in (each.stages or (None,))]

    def interval(stage: StageComparison) -> str:
        return f"{stage.ratio.low:.3f} to {stage.ratio.high:.3f}"

    def time(part: Callable[[StageComparison], float]) -> Callable[[_Row], float | None]:
        return lambda row: row[0].share(part(row[1])) if row[1] else None

    columns: list[Column[_Row]] = [
        Column("cell", "cell", lambda row: row[0].name, numeric=False),
        Column("stage", "stage", lambda row: row[1].stage if row[1] else None, numeric=False),
        Column("a", "A", time(lambda stage: stage.median_a), "ms", milliseconds, note=_TIMES),
        Column("b", "B", time(lambda stage: stage.median_b), "ms", milliseconds, note=_TIMES),
        Column("per", "per", lambda row: row[0].unit[0] if row[1] else None, numeric=False, spare=1),
        *_percentile_columns(rows),
        Column("ratio", "B/A", _ratio, "", marked(fixed(3))),
        Column("interval", "95 % interval", lambda row: interval(row[1]) if row[1] else None, spare=2),
        Column("second_clock", "2nd clock", _second_clock, "", fixed(3), spare=3, note=_CLOCK),
        Column(
            "verdict",
            "verdict",
            lambda row: row[1].verdict.value if row[1] else "not compared",
            numeric=False,
        ),
    ]
    shown = tabulate(columns, rows)
    return shown if any(map(_second_clock, rows)) else shown.without(["second_clock"])


def _percentile_columns(rows: Sequence[_Row]) -> list[Column[_Row]]:
    """Return columns of the percentiles that some stage has the samples for, in both runs."""

    def column(percent: int, place: int) -> Column[_Row]:
        def value(row: _Row) -> float | None:
            found = row[1].percentiles if row[1] else ()
            return row[0].share(next((each[place] for each in found if each[0] == percent), None))

        note = f"p{percent} is there from {samples_needed(percent)} samples on"
        run = "AB"[place - 1]
        return Column(f"p{percent}_{run}", f"p{percent} {run}", value, "ms", milliseconds, spare=4, note=note)

    found = sorted({each[0] for row in rows if row[1] for each in row[1].percentiles})
    return [column(percent, place) for percent in found for place in (1, 2)]


def _second_clock(row: _Row) -> float | None:
    return row[1].witness.estimate if row[1] and row[1].witness else None


def _ratio(row: _Row) -> float | None:
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


def _print_whole(comparison: Comparison, console: Console) -> None:
    """Print what holds for all cells: mean ratios, and by how much runs differ anyway."""
    means = [f"{stage} {ratio:.3f}" for stage, ratio in comparison.mean_ratios.items()]
    if means:
        cells = len(comparison.compared)
        of = f"{cells} cell{'s' if cells > 1 else ''} that {'are' if cells > 1 else 'is'} ok in both"
        console.print(Text(f"geometric mean of B/A over {of}: {', '.join(means)}"))
    only_a, only_b = comparison.left_out
    if only_a or only_b:
        warning = (
            f"! the runs differ in cells: {only_a} ok in A alone, {only_b} in B alone, and not in the mean"
        )
        console.print(Text(warning, style="yellow"))
    console.print(Text(noise_line(comparison), style="dim"))


def noise_line(comparison: Comparison) -> str:
    """Say by how much two runs of one tree may differ here, and how that is known."""
    margins = [stage.margin for cell in comparison.compared for stage in cell.stages]
    known = [margin.ratio for margin in margins if margin.calibrated]
    caveats = dict.fromkeys(margin.caveat for margin in margins if not margin.calibrated)
    unknown = f"up to {UNCALIBRATED:g} × may be noise, for {'; '.join(caveats)}" if caveats else ""
    if not known:
        return f"noise floor: {unknown or 'nothing was compared'}"
    sessions = len(comparison.sessions)
    floor = (
        f"noise floor: runs of one tree differ by up to {min(known):.2f} to {max(known):.2f} × by stage, "
        f"calibrated {comparison.sessions[-1]}{f' and {sessions - 1} times before' if sessions > 1 else ''}"
    )
    return f"{floor}; elsewhere {unknown}" if unknown else floor


def _print_verdict(named: Sequence[_Named], comparison: Comparison, console: Console) -> None:
    results = [each.result for each in named]
    reasons = [
        (reason, each.result)
        for each in named
        for reason in dict.fromkeys((each.cell.reason_a, each.cell.reason_b))
        if reason
    ]
    for reason, cells in merged(reasons):
        console.print(Text(f"{which(cells, results)}: {reason}", style="dim"))
    for name, reason in [(each.name, reason) for each in named for reason in each.cell.worse]:
        console.print(Text(f"✗ {name}: {reason}", style="red"))
    for reason, cells in merged([(why, each.result) for each in named for why in each.cell.undecided]):
        console.print(Text(f"? {which(cells, results)}: {reason}", style="yellow"))
    for each in named:
        for stage in each.stages:
            if stage.verdict in (Verdict.MORE_WORK, Verdict.LESS_WORK):
                console.print(
                    Text(f"{stage.verdict}: {each.name}: {stage.stage}: {stage.reason}", style="dim")
                )
    if any(each.cell.disturbed for each in named):
        console.print(Text(DISTURBED_NOTE, style="yellow"))
    for line, style in verdict_lines(comparison):
        console.print(Text(line, style=style))


def verdict_lines(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the last lines, each with its colour: how many cells are worse, how many are undecided."""
    worse, undecided = len(comparison.worse), len(comparison.undecided)
    compared, cells = len(comparison.compared), len(comparison.cells)
    beyond = f"beyond the tolerance of {100 * comparison.tolerance:.0f} %"
    lines = [(f"B is worse {beyond} in {worse} of {cells} cells.", "red")] if worse else []
    if undecided or not compared:
        lines.append((f"{undecided} of {compared} undecided: neither worse nor the same.", "yellow"))
    if not lines:
        lines.append((f"Nothing is worse {beyond}.", "green"))
    return lines
