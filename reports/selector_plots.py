"""The plots of the suite ``quality``: selectors over kept patches, the stopping rule, choices from frame to
frame."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from reports.results import EAGER, MEANINGLESS, CellResult
from reports.selectors import GAZE, WORKLOAD, Figure, by_clip, requested, requirements, sources

_FIGURES: dict[Figure, tuple[str, str]] = {
    "loss": ("Loss", "loss"),
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", "1 = equal"),
}


@dataclass(frozen=True)
class _SameClips:
    """Cells that have some clips of one source in common, and can be compared on these."""

    title: str
    """The source, and how many clips."""
    clips: frozenset[int]
    cells: list[CellResult]


def quality_by_selector(results: Sequence[CellResult]) -> Picture:
    """Draw loss, PSNR and SSIM over kept patches: a line for each selector, a row for each source, and one
    more where a selector was measured on fewer of its clips, with all selectors on these."""
    cells = _budgeted(results)
    panels = [
        Panel(f"{title}, {group.title}", unit, _lines(group.cells, _within_clips(group, name)))
        for group in _on_same_clips(cells, wider=True)
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
        Panel(group.title, "overlap with the frame before, %", _lines(group.cells, _overlap))
        for group in _on_same_clips(cells)
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
    for group in _on_same_clips(cells):
        points = sorted(
            (requested(cell) or 0.0, mean_of(list(by_clip(cell, "loss").values()))) for cell in group.cells
        )
        series.append(
            Series(
                group.title,
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
        and cell.frames
    ]
    if not cells:
        raise MissingDataError("no cell has a budget and nothing else")
    return cells


Measure = Callable[[CellResult], tuple[float, float, float] | None]
"""Returns a value with the ends of its interval."""


def _on_same_clips(cells: Sequence[CellResult], *, wider: bool = False) -> list[_SameClips]:
    """Return the cells by their source and clips, and where ``wider``, with each group those of more clips,
    to be looked at on the group's own.

    A line through means over different clips has kinks that no selector made.
    """
    groups = []
    for source, mine in sources(cells).items():
        for clips in sorted({_clips(cell) for cell in mine}, key=len, reverse=True):
            theirs = [cell for cell in mine if (clips <= _clips(cell) if wider else clips == _clips(cell))]
            theirs.sort(key=lambda cell: len(_clips(cell)), reverse=True)
            # A selector that was measured on these clips and on more of them is one point, not two.
            points = {(_line_name(cell), cell.axis("setting")): cell for cell in theirs}
            title = f"{source}, {len(clips)} clip{'s' if len(clips) > 1 else ''}"
            groups.append(_SameClips(title, clips, list(points.values())))
    return groups


def _clips(cell: CellResult) -> frozenset[int]:
    return frozenset(frame.clip for frame in cell.frames)


def _within_clips(group: _SameClips, name: Figure) -> Measure:
    """Measure means over the clips of a group, with 95 % intervals that leave out how hard each clip is.

    What the M cells of one setting have in common on a clip is taken out (Cousineau, 2005). That takes out a
    part of their own deviations too, so these are made larger by sqrt(M / (M - 1)) (Morey, 2008). Such an
    interval is that of one selector's mean; the difference of two varies about sqrt(2) times as much. A cell
    that is alone in its setting has none.
    """
    values = {cell.cell.key: _of_clips(cell, name, group.clips) for cell in group.cells}
    peers: dict[object, list[dict[int, float]]] = {}
    for cell in group.cells:
        if found := values[cell.cell.key]:
            peers.setdefault(cell.axis("setting"), []).append(found)

    def measure(cell: CellResult) -> tuple[float, float, float] | None:
        if not (found := values[cell.cell.key]):
            return None
        alike = peers[cell.axis("setting")]
        widening = math.sqrt(len(alike) / max(1, len(alike) - 1))
        own = [value - mean(each[clip] for each in alike) for clip, value in found.items()]
        spread = mean_of([widening * deviation for deviation in own])
        estimate, margin = mean(found.values()), spread.high - spread.estimate
        return estimate, estimate - margin, estimate + margin

    return measure


def _of_clips(cell: CellResult, name: Figure, clips: frozenset[int]) -> dict[int, float]:
    """Return a figure of these clips; empty where it is missing for any."""
    found = by_clip(cell, name)
    return {clip: found[clip] for clip in sorted(clips)} if clips <= found.keys() else {}


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
