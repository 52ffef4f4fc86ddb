"""The plots of the suite ``quality``: selectors over kept patches, the stopping rule, choices from frame to
frame."""

from collections.abc import Callable, Sequence
from statistics import mean

from bench.statistics import mean_of
from reports.charts import Figure as Picture
from reports.charts import (
    MissingDataError,
    Panel,
    Series,
    against_diagonal,
    curves,
    scale_shares,
    stacked_bars,
)
from reports.naming import cell_label
from reports.quality import GAZE, WORKLOAD, Figure, by_clip, requested, requirements, sources
from reports.results import EAGER, MEANINGLESS, CellResult

_FIGURES: dict[Figure, tuple[str, str]] = {
    "loss": ("Loss", "loss"),
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", "1 = equal"),
}


def quality_by_selector(results: Sequence[CellResult]) -> Picture:
    """Draw loss, PSNR and SSIM over kept patches: a line for each selector, a row for each source."""
    cells = _budgeted(results)
    panels = [
        Panel(f"{title}, {source}", unit, _lines(mine, _alike_clips(mine, name)))
        for source, mine in sources(cells).items()
        for name, (title, unit) in _FIGURES.items()
    ]
    figure = curves(panels, f"Quality against kept patches by selector{_caveat(cells)}", "patches kept, %")
    scale_shares(figure)
    return figure


def overlap_by_selector(results: Sequence[CellResult]) -> Picture:
    """Draw how much of a frame's choice the next frame keeps, over kept patches."""
    cells = [cell for cell in _budgeted(results) if cell.quality("overlap") is not None]
    if not cells:
        raise MissingDataError("no cell has clips of more than one frame")
    panels = [
        Panel(source, "overlap with the frame before, %", _lines(mine, _overlap))
        for source, mine in sources(cells).items()
    ]
    figure = curves(panels, "Patches that a frame and the one before it have in common", "patches kept, %")
    scale_shares(figure)
    return figure


def stopping_rule(results: Sequence[CellResult]) -> Picture:
    """Draw measured over requested loss, a point for each requirement."""
    cells = requirements(results)
    if not cells:
        raise MissingDataError("no cell has a loss requirement alone")
    series = []
    for source, mine in sources(cells).items():
        points = sorted(
            (requested(cell) or 0.0, mean_of(list(by_clip(cell, "loss").values()))) for cell in mine
        )
        series.append(
            Series(
                source,
                [asked for asked, _ in points],
                [measured.estimate for _, measured in points],
                [measured.low for _, measured in points],
                [measured.high for _, measured in points],
            )
        )
    panel = Panel("Mean over clips, with its 95 % interval", "measured loss", series)
    return against_diagonal([panel], f"Measured against requested loss{_caveat(cells)}", "requested loss")


def agreement(results: Sequence[CellResult]) -> Picture:
    """Draw the share of patches that the definition chooses too, a bar for each cell that is not it."""
    cells = [result for result in results if result.quality("agreement") is not None]
    if not cells:
        raise MissingDataError("no cell was held against the definition")
    return stacked_bars(
        [cell_label(cell, cells) for cell in cells],
        [{"same patches": 100 * (cell.quality("agreement") or 0.0)} for cell in cells],
        [[] for _ in cells],
        f"Agreement with {EAGER} in float32",
        "patches chosen by both, % of the larger choice, mean over frames",
        "",
    )


def _budgeted(results: Sequence[CellResult]) -> list[CellResult]:
    """Return the cells with a budget alone, judged by pixels."""
    cells = [
        cell
        for cell in results
        if cell.cell.workload == WORKLOAD
        and str(cell.axis("setting")).startswith("ratio_")
        and "task" not in str(cell.axis("setting"))
        and cell.axis("judge") == "pixels"
        and cell.kept_ratio is not None
    ]
    if not cells:
        raise MissingDataError("no cell has a budget and nothing else")
    return cells


Measure = Callable[[CellResult], tuple[float, float, float] | None]
"""Returns a value with the ends of its interval."""


def _alike_clips(cells: Sequence[CellResult], name: Figure) -> Measure:
    """Measure a mean over clips as if all clips were equally hard.

    How hard a clip is, is what all selectors' cells of one setting have in common on it. Without that, cells
    of different clips can be drawn side by side, and intervals are those of differences between selectors
    (Cousineau, 2005).
    """
    values = {cell.cell.key: by_clip(cell, name) for cell in cells}
    common: dict[object, dict[int, float]] = {}
    for setting in {cell.axis("setting") for cell in cells}:
        mine = [values[cell.cell.key] for cell in cells if cell.axis("setting") == setting]
        clips = {clip for each in mine for clip in each}
        # A cell of fewer clips must not make just these look easier.
        complete = [each for each in mine if each.keys() == clips] or mine
        common[setting] = {clip: mean(each[clip] for each in complete if clip in each) for clip in clips}

    def measure(cell: CellResult) -> tuple[float, float, float] | None:
        hard, found = common[cell.axis("setting")], values[cell.cell.key]
        if not found:
            return None
        whole = mean(hard.values())
        result = mean_of([value - hard[clip] + whole for clip, value in found.items()])
        return result.estimate, result.low, result.high

    return measure


def _overlap(cell: CellResult) -> tuple[float, float, float] | None:
    value = cell.quality("overlap")
    return None if value is None else (100 * value,) * 3


def _lines(cells: Sequence[CellResult], measure: Measure) -> list[Series]:
    """Return a line with a band for each selector, the gaze model first."""
    names = sorted({_line_name(cell) for cell in cells}, key=lambda name: (name != GAZE, name))
    lines = []
    for name in names:
        points = sorted(
            (100 * (cell.kept_ratio or 0.0), *found)
            for cell in cells
            if _line_name(cell) == name and (found := measure(cell))
        )
        if points:
            x, y, low, high = zip(*points)
            lines.append(Series(name, x, y, low, high, band=True))
    return lines


def _line_name(cell: CellResult) -> str:
    positions = cell.axis("positions")
    return str(cell.axis("selector")) + ("" if positions == "released" else f", {positions} positions")


def _caveat(cells: Sequence[CellResult]) -> str:
    return MEANINGLESS if any(cell.untrained for cell in cells) else ""
