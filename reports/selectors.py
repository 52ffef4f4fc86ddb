"""Selectors compared: whose patches reconstruct best, in words and tables, for the suite ``quality``.

The unit is the clip. Selectors saw the same clips, so two are compared by the mean of their differences clip
by clip, which leaves out how hard a clip is. Who is better is said of all comparisons of a report together:
among a hundred of equals, five would be told apart by an interval of 95 % each.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Literal

from scipy import stats

from bench.statistics import Mean, holm, mean_of
from reports.document import Block, Bullets, Column, Paragraph, Table, tabulate
from reports.naming import axis_text, several_runs, varying_axes
from reports.results import UNTRAINED, CellResult, peer
from reports.units import fixed, percent, probability, signed, text

WORKLOAD = "quality"
GAZE = "gaze"
"""The selector that others are compared with."""
FEWEST = 4
"""Clips below which nobody is said to be better.

For normal differences the t interval is exact at two already, but there it reaches 9 standard deviations
either way, at three 2.5 and at four 1.6; and nothing shows whether two or three are normal. The own video has
just four clips of 16 frames. A larger minimum would not buy much: what skewness costs at four, it costs at
eight (:func:`bench.statistics.mean_of`).
"""
_LEVEL = 0.05
"""Corrected p-value below which a difference is said to be one."""
_VIDEO = "video"
"""The source whose clips follow each other; others are painted one by one."""
_APART = ("chunk", "dtype", "attention", "engine")
"""Axes that the suite leaves at one value: cells that differ in them are shown apart."""

Figure = Literal["loss", "psnr", "ssim", "mae"]


@dataclass(frozen=True)
class SelectorComparison:
    """The gaze model against something else on the same clips, in reconstruction loss."""

    result: CellResult
    against: CellResult
    difference: Mean
    """Loss of ``result`` minus that of ``against``: below zero, ``result`` is better."""
    p_value: float
    """Of no difference; within a report corrected for all its comparisons."""

    @property
    def judged(self) -> bool:
        """Whether a verdict can be given: trained weights, losses that are numbers, and enough clips."""
        return (
            not (self.result.untrained or self.against.untrained)
            and math.isfinite(self.difference.estimate)
            and self.difference.count >= FEWEST
        )

    @property
    def verdict(self) -> str:
        """Which is better, where the p-value says so, or why nothing can be said."""
        if self.result.untrained or self.against.untrained:
            return UNTRAINED
        if not math.isfinite(self.difference.estimate):
            return "a loss is not a number"
        if not self.judged:
            return "too few clips"
        if self.p_value >= _LEVEL:
            return "no difference shown"
        return "better" if self.difference.estimate < 0 else "worse"


def by_clip(result: CellResult, name: Figure) -> dict[int, float]:
    """Return a figure's mean over the frames of each clip, by clip; empty where frames have none."""
    found: dict[int, list[float]] = {}
    for frame in result.frames:
        value: float | None = getattr(frame, name)
        if value is not None:
            found.setdefault(frame.clip, []).append(value)
    return {clip: mean(values) for clip, values in found.items()}


def compare(result: CellResult, against: CellResult) -> SelectorComparison | None:
    """Compare two cells on the clips that both have; None where there are none."""
    ours, theirs = by_clip(result, "loss"), by_clip(against, "loss")
    differences = [ours[clip] - theirs[clip] for clip in ours.keys() & theirs.keys()]
    if not differences:
        return None
    difference = mean_of(differences)
    return SelectorComparison(result, against, difference, difference.p_value)


def blocks(results: Sequence[CellResult]) -> list[Block]:
    """Return what a report says of selectors; nothing where no cell measured any."""
    measured = [result for result in results if result.ok and result.cell.workload == WORKLOAD]
    baselines, positions = _against_baselines(measured), _against(measured, positions="released")
    comparisons = _corrected([*baselines, *positions])
    return [
        *(_verdicts(comparisons) if comparisons else []),
        *(_margins(comparisons[: len(baselines)]) if baselines else []),
        *(_positions(comparisons[len(baselines) :]) if positions else []),
        *(_calibration(sweep) if (sweep := requirements(measured)) else []),
    ]


def _verdicts(comparisons: Sequence[SelectorComparison]) -> list[Block]:
    """Return how verdicts come about, and what they cannot know."""
    judged = [comparison for comparison in comparisons if comparison.judged]
    return [
        Paragraph(
            "Two are compared by the mean difference in reconstruction loss on the same clips, with its 95 % "
            "interval over clips by Student's t, each by itself. One is said to be better, or worse, only "
            f"where p is below {_LEVEL} after Holm's correction for all comparisons of {FEWEST} clips or "
            f"more here ({len(judged)}): the chance of any wrong verdict among them is then "
            f"{100 * _LEVEL:.0f} % at most, if clips are independent and their differences normal."
        ),
        Bullets(tuple(_caveats(judged))),
    ]


def _margins(margins: Sequence[SelectorComparison]) -> list[Block]:
    return [
        Paragraph(
            "The gaze model against each other selector on the same clips, at the same number of patches. "
            "Below zero the gaze model is better."
        ),
        Bullets(tuple(_tallies(margins))),
        _comparison_table(margins, "selector"),
    ]


def _positions(positions: Sequence[SelectorComparison]) -> list[Block]:
    return [
        Paragraph(
            "The gaze model with the decoder's steps at their true positions (sequential) against the "
            "same with those of the released loop:"
        ),
        _comparison_table(positions, "positions"),
    ]


def _calibration(sweep: Sequence[CellResult]) -> list[Block]:
    return [
        Paragraph(
            "The stopping rule: the loss that was requested and the loss that came out. The model never "
            "sees the loss, it predicts it. A frame is exhausted where all its patches did not suffice."
        ),
        Bullets(tuple(_calibrations(sweep))),
        _calibration_table(sweep),
    ]


def requirements(results: Iterable[CellResult]) -> list[CellResult]:
    """Return the cells that stop at a requirement and nothing else, with a measured loss."""
    return [
        result
        for result in results
        if result.cell.workload == WORKLOAD
        and requested(result) is not None
        and result.quality("loss") is not None
    ]


def requested(result: CellResult) -> float | None:
    """Return the loss that a cell's setting requests; None where it has a budget."""
    setting = str(result.axis("setting"))
    return float(setting.removeprefix("task_")) if setting.startswith("task_") else None


def sources(results: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """Return the cells by the source of their clips; where they are of several runs, chunk sizes, data types
    and the like, by those too."""
    name = _source_names(results)
    found: dict[str, list[CellResult]] = {}
    for result in results:
        found.setdefault(name(result), []).append(result)
    return found


def _source_names(results: Sequence[CellResult]) -> Callable[[CellResult], str]:
    apart, several = [name for name in _APART if name in varying_axes(results)], several_runs(results)

    def name(result: CellResult) -> str:
        parts = [text(result.axis("source")), *(axis_text(axis, result.axis(axis)) for axis in apart)]
        return ", ".join([*parts, result.label] if several else parts)

    return name


def _against_baselines(results: Sequence[CellResult]) -> list[SelectorComparison]:
    found = []
    for result in results:
        if result.axis("selector") == GAZE or result.axis("judge") != "pixels":
            continue
        gaze = peer(result, results, selector=GAZE) or _more_clips(result, results)
        comparison = compare(gaze, result) if gaze else None
        found += [comparison] if comparison else []
    return found


def _more_clips(result: CellResult, results: Sequence[CellResult]) -> CellResult | None:
    """Return the gaze model's cell that differs in the number of clips too: the first ones are the same."""
    counts = {other.cell.axes.get("clips") for other in results}
    found = (peer(result, results, selector=GAZE, clips=count) for count in counts if isinstance(count, int))
    return next((gaze for gaze in found if gaze), None)


def _against(results: Sequence[CellResult], **axes: str) -> list[SelectorComparison]:
    """Compare the cells that differ from a peer in these axes alone with that peer."""
    found = []
    for result in results:
        other = peer(result, results, **axes)
        comparison = compare(result, other) if other and other is not result else None
        found += [comparison] if comparison else []
    return found


def _corrected(comparisons: Sequence[SelectorComparison]) -> list[SelectorComparison]:
    """Return the comparisons with the p-values of those that are judged corrected for their number."""
    p_values = iter(holm([each.difference.p_value for each in comparisons if each.judged]))
    return [replace(each, p_value=next(p_values)) if each.judged else each for each in comparisons]


def _tallies(margins: Sequence[SelectorComparison]) -> list[str]:
    """Say against which selectors the gaze model is better everywhere, and where it is not."""
    said = []
    trained = [margin for margin in margins if margin.verdict != UNTRAINED]
    source = _source_names([margin.result for margin in margins])
    for name in dict.fromkeys(str(margin.against.axis("selector")) for margin in trained):
        mine = [margin for margin in trained if margin.against.axis("selector") == name]
        others = [margin for margin in mine if margin.verdict != "better"]
        sentence = f"{name}: the gaze model is better in {len(mine) - len(others)} of {len(mine)} cells"
        if others:
            where = "; ".join(
                f"{source(margin.result)} {margin.against.axis('setting')} ({margin.verdict})"
                for margin in others
            )
            sentence += f"; not in {where}"
        said.append(sentence)
    return said


def _caveats(judged: Sequence[SelectorComparison]) -> list[str]:
    warnings = dict.fromkeys(warning for each in judged for warning in each.difference.warnings)
    said = [f"in some comparisons there are {warning}" for warning in warnings]
    if any(each.result.axis("source") == _VIDEO for each in judged):
        said.append(
            "clips of one video are consecutive segments of it and not independent: intervals over them are "
            "narrower than they should be, and verdicts are about that video alone"
        )
    return said


def _comparison_table(comparisons: Sequence[SelectorComparison], axis: str) -> Table:
    varied = "against" if axis == "selector" else axis
    source = _source_names([comparison.result for comparison in comparisons])

    def of_axis(comparison: SelectorComparison) -> str:
        return text((comparison.against if axis == "selector" else comparison.result).axis(axis))

    columns: list[Column[SelectorComparison]] = [
        Column("source", "clips of", lambda each: source(each.result), numeric=False),
        Column("setting", "setting", lambda each: text(each.result.axis("setting")), numeric=False),
        Column(varied, varied, of_axis, numeric=False),
        Column("kept", "kept", lambda each: each.against.kept_ratio, "%", percent),
        Column("loss", "loss", lambda each: _mean_loss(each, each.result), "", fixed(4)),
        Column("other_loss", "its loss", lambda each: _mean_loss(each, each.against), "", fixed(4)),
        Column("difference", "difference", lambda each: each.difference.estimate, "", signed(4)),
        Column("low", "from", lambda each: each.difference.low, "", signed(4)),
        Column("high", "to", lambda each: each.difference.high, "", signed(4)),
        Column("clips", "clips", lambda each: each.difference.count),
        Column("p_value", "p", lambda each: each.p_value if each.judged else None, "", probability),
        Column("verdict", "verdict", lambda each: each.verdict, numeric=False),
    ]
    return tabulate(columns, comparisons)


def _mean_loss(comparison: SelectorComparison, of: CellResult) -> float:
    """Return the mean loss on the clips that were compared."""
    shared = by_clip(comparison.result, "loss").keys() & by_clip(comparison.against, "loss").keys()
    return mean(loss for clip, loss in by_clip(of, "loss").items() if clip in shared)


def _calibrations(sweep: Sequence[CellResult]) -> list[str]:
    said = []
    for source, cells in sources(sweep).items():
        pairs = [(requested(cell) or 0.0, loss) for cell in cells for loss in by_clip(cell, "loss").values()]
        gap = mean(abs(measured - asked) for asked, measured in pairs)
        sentence = f"{source}: mean absolute gap {gap:.4f} over {len(cells)} requirements of each clip"
        asked, measured = zip(*pairs)
        if len(set(asked)) > 1 and len(set(measured)) > 1:
            sentence += f", rank correlation {float(stats.spearmanr(asked, measured).statistic):.2f}"
        said.append(sentence)
    return said


def _calibration_table(sweep: Sequence[CellResult]) -> Table:
    source = _source_names(sweep)

    def gap(cell: CellResult) -> float:
        return (cell.quality("loss") or 0.0) - (requested(cell) or 0.0)

    columns: list[Column[CellResult]] = [
        Column("source", "clips of", source, numeric=False),
        Column("requested", "requested", requested, "", fixed(2)),
        Column("measured", "measured", lambda cell: cell.quality("loss"), "", fixed(4)),
        Column("gap", "gap", gap, "", signed(4)),
        Column("kept", "kept", lambda cell: cell.kept_ratio, "%", percent),
        Column("exhausted", "exhausted", lambda cell: cell.quality("exhausted"), "%", percent),
    ]
    return tabulate(columns, sorted(sweep, key=lambda cell: (source(cell), requested(cell) or 0.0)))
