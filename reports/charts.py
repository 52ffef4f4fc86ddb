"""Charts from plain numbers: each function returns a matplotlib figure.

Benchmark reports and the published evaluator's files share them. To be called inside
:func:`reports.style.styled`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, ScalarFormatter

from reports.style import COLOURS, HEAT, MARKERS, PUBLISHED, STAGE_COLOURS
from reports.units import significant

Figure = Any
Axes = Any
Looks = Mapping[str, Mapping[str, Any]]
"""How each series is drawn, by its name."""


_ROOM_FOR_WORDS = 4
"""Frames of a heat map that are as wide as a few words."""


class MissingDataError(Exception):
    """A picture's data is missing; the message says which."""


@dataclass(frozen=True)
class Series:
    """A named line: the same number of x and y, and names of the points where they have any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    """Lower ends of the error bars; infinite at points that have none."""
    high: Sequence[float] | None = None
    band: bool = False
    """Whether the error bars are drawn as a band along the line."""
    published: bool = False
    """Measured elsewhere: drawn dashed and grey."""
    names: Sequence[str] = ()
    """Of the points, where they have any."""


@dataclass(frozen=True)
class Roof:
    """What a device can do at best."""

    name: str
    bytes_per_second: float
    flops_per_second: float


@dataclass(frozen=True)
class Panel:
    """One set of axes: several series that share a quantity, and in a roofline plot the roofs over them."""

    title: str
    unit: str
    series: list[Series] = field(default_factory=list)
    roofs: list[Roof] = field(default_factory=list)


def heat_map(names: Sequence[str], counts: Sequence[Sequence[float]], title: str) -> Figure:
    """Draw the gaze count of each frame, a row for each name; rows may be of different length.

    Colours are logarithmic, since budgets span two orders of magnitude; every cell also bears its number. A
    row of equal numbers, which a budget makes, bears it once.
    """
    width = max(len(row) for row in counts)
    values = np.full((len(counts), width), np.nan)
    for row, frames in enumerate(counts):
        values[row, : len(frames)] = frames
    lowest = max(1.0, float(np.nanmin(values)))
    scale = LogNorm(lowest, max(float(np.nanmax(values)), 2 * lowest))
    figure, axes = plt.subplots(figsize=(max(7.0, 2.6 + 0.45 * width), 1.6 + 0.38 * len(counts)))
    image = axes.imshow(np.maximum(values, lowest), aspect="auto", cmap=HEAT, norm=scale)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes.set_xlabel("frame of the clip")
    axes.set_xticks(range(width))
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    if width <= 32:
        for row, frames in enumerate(counts):
            for place, text, count in _numbers(frames):
                ink = "black" if scale(max(count, lowest)) > 0.5 else "white"
                axes.text(place, row, text, ha="center", va="center", fontsize=8, color=ink)
    bar = figure.colorbar(image, ax=axes, pad=0.01, label="gazes per frame")
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return figure


def _numbers(frames: Sequence[float]) -> list[tuple[float, str, float]]:
    """Return the numbers of a row of a heat map: where each stands, its text, and itself."""
    finite = [
        (float(place), f"{count:.0f}", count) for place, count in enumerate(frames) if np.isfinite(count)
    ]
    if len(frames) < _ROOM_FOR_WORDS or len(finite) < len(frames) or len(set(frames)) > 1:
        return finite
    return [((len(frames) - 1) / 2, f"{frames[0]:.0f} in every frame", frames[0])]


def curves(panels: Sequence[Panel], title: str, x_label: str) -> Figure:
    """Draw panels over the same x with one legend; a name looks the same in all of them."""
    return _grid(panels, title, x_label, _draw_lines)


def against_diagonal(panels: Sequence[Panel], title: str, x_label: str) -> Figure:
    """Draw points, with error bars, beside the line on which y is x."""
    return _grid(panels, title, x_label, _draw_points_and_diagonal, height=4.2)


def rooflines(panels: Sequence[Panel], title: str) -> Figure:
    """Draw points of FLOP/byte and FLOP/s under the roofs of their panel, both axes logarithmic.

    A roof rises with what can be moved in a second up to what can be computed in one.
    """
    return _grid(panels, title, "arithmetic intensity, FLOP/byte", _draw_points_under_roofs, height=4.2)


def _grid(
    panels: Sequence[Panel],
    title: str,
    x_label: str,
    draw: Callable[[Axes, Panel, Looks], None],
    height: float = 3.2,
) -> Figure:
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    rows = -(-len(panels) // columns)
    size = (max(5.0 * columns, 7.0), height * rows + 0.4)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False)
    looks = _looks(panels)
    for axes, panel in zip(grid.flat, panels):
        draw(axes, panel, looks)
        axes.set_title(panel.title)
        axes.set_ylabel(panel.unit)
        axes.set_xlabel(x_label)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    handles, names = _handles(grid)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    _legend(figure, handles, names)
    return figure


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Put the legend beneath the axes, and make the figure so much higher."""
    # At this size a line holds twelve letters an inch, of which a handle takes six.
    columns = max(1, int(12 * figure.get_figwidth() / (6 + max(map(len, names), default=1))))
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(names) // columns))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def _looks(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(series.name for panel in panels for series in panel.series if not series.published)
    looks: dict[str, dict[str, Any]] = {
        name: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}
        for i, name in enumerate(names)
    }
    roofs = dict.fromkeys(roof.name for panel in panels for roof in panel.roofs)
    for name, style in zip(roofs, cycle(("-", "--", ":"))):
        looks[name] = {"color": "black", "linewidth": 1.1, "linestyle": style}
    elsewhere = dict.fromkeys(series.name for panel in panels for series in panel.series if series.published)
    for i, name in enumerate(elsewhere):
        looks[name] = {
            "color": PUBLISHED,
            "linestyle": "--",
            "marker": MARKERS[i % len(MARKERS)],
            "mfc": "white",
        }
    return looks


def _draw_lines(axes: Axes, panel: Panel, looks: Looks) -> None:
    for place, series in enumerate(panel.series):
        look = looks[series.name]
        # The first series lies on top: it is what the others are compared with.
        axes.plot(series.x, series.y, label=series.name, zorder=3 - place / 100, **look)
        if series.low is None or series.high is None:
            continue
        if series.band:
            axes.fill_between(series.x, series.low, series.high, color=look["color"], alpha=0.15, linewidth=0)
        else:
            axes.vlines(series.x, series.low, series.high, color=look["color"], linewidth=1.2, alpha=0.7)


def _draw_points_and_diagonal(axes: Axes, panel: Panel, looks: Looks) -> None:
    _draw_lines(axes, panel, looks)
    ends = [value for series in panel.series for value in (*series.x, *series.y)]
    line = min(ends), max(ends)
    axes.plot(
        line, line, color="black", linewidth=1.1, linestyle="--", label="measured = requested", zorder=1
    )


def _draw_points_under_roofs(axes: Axes, panel: Panel, looks: Looks) -> None:
    for place, series in enumerate(panel.series):
        look = {**looks[series.name], "linestyle": "none"}
        axes.plot(series.x, series.y, label=series.name, **look)
        # Names of every other series stand on the left of their points, where they cover fewer.
        side = {"xytext": (-4, 3), "ha": "right"} if place % 2 else {"xytext": (4, 3), "ha": "left"}
        for x, y, name in zip(series.x, series.y, series.names):
            axes.annotate(name, (x, y), textcoords="offset points", fontsize=8, color=look["color"], **side)
    ridges = [roof.flops_per_second / roof.bytes_per_second for roof in panel.roofs]
    across = [*ridges, *(value for series in panel.series for value in series.x)]
    low, high = 10 ** np.floor(np.log10(min(across) / 2)), 10 ** np.ceil(np.log10(2 * max(across)))
    for roof, ridge in zip(panel.roofs, ridges):
        top = roof.flops_per_second
        corners = (low, ridge, high), (low * roof.bytes_per_second, top, top)
        axes.plot(*corners, label=roof.name, **looks[roof.name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)


def _handles(grid: Any) -> tuple[list[Any], list[str]]:
    found: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, name in zip(*axes.get_legend_handles_labels()):
            found.setdefault(name, handle)
    return list(found.values()), list(found)


def scale_for_doubling(figure: Figure, values: Sequence[float]) -> None:
    """Put x on a base-2 logarithm with ticks at ``values`` only, and let y begin at zero."""
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())


def scale_shares(figure: Figure) -> None:
    """Put x, shares in %, on a logarithm: the first patches matter most."""
    for axes in figure.axes:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")


def stacked_bars(
    names: Sequence[str],
    parts: Sequence[Mapping[str, float]],
    marks: Sequence[Sequence[float]],
    title: str,
    x_label: str,
    mark_label: str,
) -> Figure:
    """Draw a horizontal bar for each name, made of its parts, with the total at its end.

    ``marks`` are figures measured elsewhere, none or several for each bar; parts are drawn in the order of
    the palette.
    """
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.36 * len(names)))
    places = np.arange(len(names))
    left = np.zeros(len(names))
    known = [
        *STAGE_COLOURS,
        *dict.fromkeys(stage for bar in parts for stage in bar if stage not in STAGE_COLOURS),
    ]
    for stage in known:
        widths = np.array([bar.get(stage, 0.0) for bar in parts])
        if widths.any():
            colour = STAGE_COLOURS.get(stage, "#DDDDDD")
            axes.barh(places, widths, left=left, height=0.7, color=colour, label=stage)
            left += widths
    # The totals stand in a column of their own, where no mark can cover them.
    beside = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center", "fontsize": 9}
    for place, total in zip(places, left):
        axes.annotate(significant(total), (1.0, place), **beside)
    points = [(mark, place) for place, bar in zip(places, marks) for mark in bar]
    if points:
        x, y = zip(*points)
        axes.scatter(x, y, marker="D", s=34, facecolor="white", edgecolor="black", zorder=3, label=mark_label)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max([*left, *(mark for mark, _ in points)]))
    axes.grid(False, axis="y")
    # Above the names of the bars too: long ones leave the axes too narrow for it.
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes.set_xlabel(x_label)
    _legend(figure, *axes.get_legend_handles_labels())
    return figure
