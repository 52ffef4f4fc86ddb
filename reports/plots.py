"""The plots of a report, each drawn from the results of one or several runs.

Only cells that are ``ok`` are drawn. A plot whose data is missing is not drawn, and the report says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import mean

from bench.records import WHOLE
from reports import evaluation_plots
from reports.charts import (
    Figure,
    MissingDataError,
    Panel,
    Series,
    curves,
    heat_map,
    scale_for_doubling,
    stacked_bars,
)
from reports.document import Block, Image, Paragraph
from reports.naming import cell_label, setting_kind
from reports.published import H100, RTX_3090, matching, published_figures
from reports.results import MEANINGLESS, CellResult
from reports.roofline import roofline
from reports.selector_plots import agreement, overlap_by_selector, quality_by_selector, stopping_rule
from reports.style import styled
from reports.summaries import ENCODE, ENGINES, EVALUATION, KERNEL, QUALITY, VIDEO, View, groups

QUALITIES = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", "1 = equal"),
    "loss": ("Loss", "loss"),
    "mae": ("MAE", "MAE"),
}
_ROUNDING = 1e-6
"""A share of the whole that is no stage, but what is left of sums."""
MOST_CURVES = 8
"""More curves than this cannot be told apart."""


@dataclass(frozen=True)
class Plot:
    """A plot of a report: the file it goes to, what it shows, and how it is drawn."""

    name: str
    title: str
    caption: str
    draw: Callable[[Sequence[CellResult]], Figure]
    views: tuple[View, ...]
    """Whose cells are drawn; of a report without any the plot is no part."""


def write_plots(results: Sequence[CellResult], folder: Path) -> tuple[list[Path], list[Block]]:
    """Draw every plot into ``folder/plots``; return the files, and what the report shows in their places."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    parts = groups(results)
    written: list[Path] = []
    blocks: list[Block] = []
    with styled():
        for plot in PLOTS:
            path = folder / "plots" / f"{plot.name}.png"
            path.unlink(missing_ok=True)
            drawn = [result for part in parts if part.view in plot.views for result in part.results]
            if not drawn:
                continue
            try:
                plot.draw([result for result in drawn if result.ok]).savefig(path)
            except MissingDataError as missing:
                blocks.append(Paragraph(f"{plot.title}: not drawn, because {missing}."))
            else:
                written.append(path)
                blocks.append(Image(f"plots/{path.name}", plot.title, plot.caption))
    return written, blocks


def quality_against_kept_patches(results: Sequence[CellResult]) -> Figure:
    """Draw quality over the share of patches kept, a curve for each kind of setting and group of cells."""
    drawn = [
        result for result in results if result.kept_ratio is not None and result.quality("psnr") is not None
    ]
    if not drawn:
        raise MissingDataError("no cell has both a share of kept patches and a reconstruction")
    untrained = any(result.untrained for result in drawn)
    panels = []
    for name, (title, unit) in QUALITIES.items():
        groups: dict[str, list[tuple[float, float]]] = {}
        for result in drawn:
            value, kept = result.quality(name), result.kept_ratio
            if value is not None and kept is not None:
                group = f"{cell_label(result, drawn, 'setting')}, {setting_kind(result.axis('setting'))}"
                groups.setdefault(group, []).append((100 * kept, value))
        series = [_line(group, points) for group, points in groups.items()]
        if series:
            panels.append(Panel(title, unit, series + ([] if untrained else _published_quality(name))))
    title = "Quality against kept patches" + (MEANINGLESS if untrained else "")
    return curves(panels, title, "patches kept, %")


def _published_quality(name: str) -> list[Series]:
    found: dict[str, list[tuple[float, float]]] = {}
    for figure in published_figures():
        value = {"psnr": figure.psnr, "ssim": figure.ssim}.get(name)
        if value is not None and figure.kept_ratio is not None:
            found.setdefault(setting_kind(figure.value), []).append((100 * figure.kept_ratio, value))
    return [
        _line(f"published elsewhere: H100, {kind}", points, published=True) for kind, points in found.items()
    ]


def _line(name: str, points: Sequence[tuple[float, float]], published: bool = False) -> Series:
    ordered = sorted(points)
    return Series(name, [x for x, _ in ordered], [y for _, y in ordered], published=published)


def stage_parts(result: CellResult) -> dict[str, float]:
    """Return the milliseconds of a clip that each stage takes: its mean share of the median end to end, so
    that they add up to it. Nested stages stand for their part of the parent.

    What the nested stages of a parent leave over keeps the parent's name; what no stage covers is ``other``.
    Empty for a cell without clips.
    """
    whole = result.per("clip", result.median(WHOLE))
    if whole is None:
        return {}
    parts: dict[str, float] = {}
    for stage, share in result.shares_of_whole.items():
        children = [name for name in result.stages if name.startswith(f"{stage}.")]
        within = {child: result.share(child) or 0.0 for child in children}
        # Children by device events may take longer than their parent by the host's clock.
        scale = share / max(1.0, sum(within.values()))
        nested = {child: scale * part for child, part in within.items()}
        parts |= nested | {stage: share - sum(nested.values())}
    parts["other"] = 1.0 - sum(parts.values())
    return {stage: 1e3 * whole * part for stage, part in parts.items() if part > _ROUNDING}


def latency_by_stage(results: Sequence[CellResult]) -> Figure:
    """Draw what a clip's time is made of, a bar for each cell, with the published time where there is one."""
    timed = [result for result in results if stage_parts(result)]
    if not timed:
        raise MissingDataError("no cell has timed stages")
    return stacked_bars(
        [cell_label(result, timed) for result in timed],
        [stage_parts(result) for result in timed],
        [_published_clip(result) for result in timed],
        "Latency of a clip, end to end (median), by stage",
        "ms per clip",
        "published elsewhere: H100, gaze + reconstruct",
    )


def _published_clip(result: CellResult) -> list[float]:
    if not {"gaze", "reconstruct"} <= result.stages.keys():
        return []
    return [
        1e3 * figure.chunk * (figure.gaze + figure.reconstruct)
        for figure in matching(result.axis("setting"), result.axis("chunk"))
        if figure.source == H100 and figure.reconstruct is not None
    ]


def latency_against_chunk_size(results: Sequence[CellResult]) -> Figure:
    """Draw the time a frame takes over the number of frames in a chunk, a panel for each stage."""
    groups: dict[str, list[tuple[float, CellResult]]] = {}
    for result in results:
        chunk = result.axis("chunk")
        if isinstance(chunk, int) and result.stages:
            groups.setdefault(cell_label(result, results, "chunk"), []).append((chunk, result))
    groups = {name: members for name, members in groups.items() if len(members) > 1}
    if not groups:
        raise MissingDataError("no setting was measured with more than one chunk size")
    panels = []
    for stage in ("gaze", "reconstruct", WHOLE):
        series = [_over_chunks(name, stage, members) for name, members in groups.items()]
        drawn = [line for line in series if line.x]
        if drawn:
            panels.append(Panel(stage.replace("_", " "), "ms per frame", drawn + _published_chunks(stage)))
    figure = curves(panels, "Latency of a frame against chunk size (median, p5 to p95)", "frames per chunk")
    scale_for_doubling(figure, [x for panel in panels for line in panel.series for x in line.x])
    return figure


def _over_chunks(name: str, stage: str, members: Sequence[tuple[float, CellResult]]) -> Series:
    points = []
    for chunk, result in sorted(members, key=lambda member: member[0]):
        frames, summary = result.counter("frames"), result.stages.get(stage)
        if frames and summary:
            scale = 1e3 / frames
            points.append((chunk, scale * summary.median, scale * summary.p5, scale * summary.p95))
    x, y, low, high = zip(*points) if points else ((), (), (), ())
    return Series(name, x, y, low, high)


def _published_chunks(stage: str) -> list[Series]:
    rows = [
        figure for figure in published_figures() if figure.source == RTX_3090 and figure.sweep == "chunk size"
    ]
    times = [figure.gaze if stage == "gaze" else figure.reconstruct for figure in rows]
    if stage == WHOLE or any(time is None for time in times):
        return []
    name = "published elsewhere: RTX 3090, ratio cap 0.75"
    return [
        Series(name, [row.chunk for row in rows], [1e3 * (time or 0.0) for time in times], published=True)
    ]


def _by_frame(result: CellResult, name: str) -> list[float]:
    """Return a figure of each frame of a clip, the mean over clips; nothing where a frame lacks it."""
    clips: dict[int, list[float | None]] = {}
    for frame in sorted(result.frames, key=lambda frame: (frame.clip, frame.frame)):
        clips.setdefault(frame.clip, []).append(getattr(frame, name))
    columns = [[value for value in column if value is not None] for column in zip_longest(*clips.values())]
    return [mean(column) for column in columns] if all(columns) else []


def _distinct(results: Sequence[CellResult], name: str) -> list[CellResult]:
    """Return the cells with a figure by frame: alike ones once, if too many those of the longest clips."""
    found: dict[tuple[object, ...], CellResult] = {}
    for result in results:
        values = _by_frame(result, name)
        if values:
            found.setdefault((result.axis("setting"), *values), result)
    if len(found) > MOST_CURVES:
        longest = max(len(values) for values in found)
        found = {values: result for values, result in found.items() if len(values) == longest}
    return list(found.values())


def gaze_heat_map(results: Sequence[CellResult]) -> Figure:
    """Draw how many gazes each frame of a clip got, a row for each cell that chose differently."""
    cells = _distinct(results, "gazes")
    if not cells:
        raise MissingDataError("no cell has gaze counts by frame")
    names = [cell_label(cell, cells) for cell in cells]
    counts = [_by_frame(cell, "gazes") for cell in cells]
    if all(len(set(row)) == 1 for row in counts):
        raise MissingDataError("every cell chose as many patches in one frame as in any other")
    return heat_map(names, counts, "Gazes in each frame of a clip, mean over clips")


def quality_by_frame(results: Sequence[CellResult]) -> Figure:
    """Draw PSNR, SSIM, loss and the gaze count over the frames of a clip."""
    cells = _distinct(results, "psnr")[:MOST_CURVES]
    if not cells:
        raise MissingDataError("no cell has a reconstruction quality by frame")
    titles = {name: QUALITIES[name] for name in ("psnr", "ssim", "loss")} | {
        "gazes": ("Gazes", "gazes per frame")
    }
    panels = []
    for name, (title, unit) in titles.items():
        lines = {cell_label(cell, cells): _by_frame(cell, name) for cell in cells}
        series = [Series(label, range(len(values)), values) for label, values in lines.items() if values]
        if series:
            panels.append(Panel(title, unit, series))
    suffix = MEANINGLESS if any(cell.untrained for cell in cells) else ""
    return curves(panels, f"Quality by frame, mean over clips{suffix}", "frame of the clip")


PLOTS = (
    Plot(
        "roofline",
        "Roofline",
        "What was computed in a second over how much is computed for a byte moved, both by the least work "
        "that the result needs. The roofs are the fastest copy and the fastest matrix product that any cell "
        "measured on the device: nothing can lie above them. Points bear the value of the axis in the title.",
        roofline,
        (KERNEL, ENGINES),
    ),
    Plot(
        "latency_by_stage",
        "Latency by stage",
        "What the time of a clip is made of: a bar is as long as the median end to end, and each stage has "
        "its mean share of it. A diamond, if any, is a published figure, measured on another machine.",
        latency_by_stage,
        (VIDEO, ENGINES, ENCODE),
    ),
    Plot(
        "latency_against_chunk_size",
        "Latency against chunk size",
        "Time for a frame when the video is cut into chunks of so many frames; bars reach from the 5th to "
        "the 95th percentile.",
        latency_against_chunk_size,
        (VIDEO,),
    ),
    Plot(
        "quality_against_kept_patches",
        "Quality against kept patches",
        "Reconstruction quality over the share of candidate patches that were kept: means over the frames "
        "of the timed outputs.",
        quality_against_kept_patches,
        (VIDEO,),
    ),
    Plot(
        "gaze_heat_map",
        "Gazes by frame",
        "How many patches were chosen in each frame: with a budget always as many, which is then said once, "
        "with a requirement as many as the frame needs. Cells that chose alike are drawn once.",
        gaze_heat_map,
        (VIDEO, ENGINES),
    ),
    Plot(
        "quality_by_frame",
        "Quality by frame",
        "Reconstruction quality and gaze count along a clip: means over clips. Cells with equal figures "
        "are drawn once.",
        quality_by_frame,
        (VIDEO,),
    ),
    Plot(
        "quality_by_selector",
        "Quality by selector",
        "Reconstruction quality over the share of candidate patches that were kept, for the gaze model and "
        "for selectors that learned nothing. All of a panel are means over the same clips: where one was "
        "measured on fewer, there is a panel of these. Bands are 95 % t intervals of one selector's mean, "
        "without what all have in common on a clip, how hard it is (Cousineau, 2005, with Morey's correction "
        "of 2008). The difference of two selectors varies about √2 times as much: its own interval is in the "
        "table.",
        quality_by_selector,
        (QUALITY,),
    ),
    Plot(
        "stopping_rule",
        "Measured against requested loss",
        "Where the stopping rule stops: the loss that came out over the loss that was requested. Below the "
        "diagonal more patches were kept than were needed, above it fewer. Bars are 95 % t intervals over "
        "clips.",
        stopping_rule,
        (QUALITY,),
    ),
    Plot(
        "overlap_by_selector",
        "Choices from frame to frame",
        "The share of patches that a frame and the one before it have in common, of those that either has: "
        "100 % is always the same patches. Selectors that look at the grid alone show what a rule without a "
        "video gives; in a scene that moves, neither end of the scale is good in itself.",
        overlap_by_selector,
        (QUALITY,),
    ),
    Plot(
        "agreement",
        "Agreement of engines and data types",
        "The share of patches that eager in float32 chooses too. One early difference changes all that a "
        "frame sees later.",
        agreement,
        (ENGINES,),
    ),
    Plot(
        "evaluation_tradeoff",
        "Quality and time against gazed patches",
        "Means over clips, for each setting of the evaluation; the time of a clip is a median.",
        evaluation_plots.tradeoff_curves,
        (EVALUATION,),
    ),
    Plot(
        "evaluation_by_frame",
        "Evaluation by frame",
        "Reconstruction quality and gaze count along a clip, for each setting: means over clips.",
        evaluation_plots.per_frame_curves,
        (EVALUATION,),
    ),
    Plot(
        "evaluation_gazes",
        "Gazes by frame, for each setting",
        "How many patches were chosen in each frame: means over clips.",
        evaluation_plots.gaze_heat_map,
        (EVALUATION,),
    ),
)
