"""Summaries of workloads: their columns, and what their work is divided by.

A report shows the cells of each view in tables of their own. To show a new workload as it deserves, give it a
:class:`View` and a line in :data:`VIEWS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.records import WHOLE
from reports.columns import (
    AGREEMENT,
    ENERGY,
    KEPT,
    MEMORY,
    CellColumn,
    ceiling_column,
    compute_column,
    count_column,
    error_column,
    over_ours_columns,
    quality_column,
    rate_columns,
    same_patches_column,
    speed_up_column,
    step_time,
    time_column,
)
from reports.document import Column, Table
from reports.evaluation import columns as evaluation_columns
from reports.evaluation import settings_table
from reports.naming import axes_text, axis_text, usual_axes, which
from reports.results import EAGER, CellResult, peer
from reports.units import giga, mean_count, microseconds, percent

VIDEO_WORKLOADS = ("gaze", "reconstruct", "end_to_end")
"""The workloads that choose patches or paint frames from them: what others have published figures of."""


@dataclass(frozen=True)
class View:
    """How cells of one kind are to be read."""

    title: str
    unit: str
    """What the time and the work of a repetition are shared out among: ``clip`` or ``call``."""
    columns: Callable[[Sequence[CellResult]], list[CellColumn]]
    """What the summary says of each cell."""
    remarks: Callable[[Sequence[CellResult]], list[str]] = lambda results: []
    """What is to be said of several cells at once."""
    apart: str = ""
    """An axis each of whose values has tables of its own."""
    rivals: str = ""
    """The axis whose values do the same work in different ways, each with points of its own in a roofline
    plot."""
    points: str = ""
    """The axis that names those points."""
    table: Callable[[Sequence[CellResult]], Table] | None = None
    """The summary as a whole, where its rows are not cells."""


@dataclass(frozen=True)
class Group:
    """Cells that stand in one table."""

    view: View
    title: str
    results: tuple[CellResult, ...]


def groups(results: Sequence[CellResult]) -> list[Group]:
    """Part the results by how they are to be read; groups of one view follow each other."""
    engines = {result.axis("engine") for result in results if result.cell.workload == "gaze"}
    found: dict[View, dict[str, list[CellResult]]] = {}
    for result in results:
        view = VIEWS.get(result.cell.workload, OTHER)
        if result.cell.workload == "gaze" and len(engines) > 1:
            view = ENGINES
        title = axis_text(view.apart, result.axis(view.apart)) if view.apart else view.title
        found.setdefault(view, {}).setdefault(title, []).append(result)
    return [
        Group(view, title, tuple(members))
        for view, titles in found.items()
        for title, members in titles.items()
    ]


def remarks(group: Group) -> list[str]:
    """Return what is to be said under the table of a group, besides the notes of its columns."""
    usual = usual_axes(group.results)
    said = [f"unless a row says otherwise: {axes_text(usual)}"] if usual else []
    return said + group.view.remarks(group.results)


def _ran(axis: str, detail: str) -> Callable[[Sequence[CellResult]], list[str]]:
    """Make a remark of what really ran for each value of an axis, where that is something else."""

    def remark(results: Sequence[CellResult]) -> list[str]:
        found: dict[tuple[str, str], list[CellResult]] = {}
        for result in results:
            ran = result.detail(detail)
            ran = ", ".join(ran) if isinstance(ran, list) else ran
            if ran and result.axis(axis) not in (None, ran):
                found.setdefault((str(result.axis(axis)), str(ran)), []).append(result)
        several = [value for value, _ in found]
        return [
            f"{value} ran {ran}" + (f" ({which(cells, results)})" if several.count(value) > 1 else "")
            for (value, ran), cells in found.items()
        ]

    return remark


def _video(results: Sequence[CellResult]) -> list[CellColumn]:
    def time(key: str, heading: str, stage: str) -> CellColumn:
        return time_column(key, heading, stage, "frame", note="times are medians in ms per frame")

    return [
        KEPT,
        count_column("gazes", "gazes", "selected_patches", spare=3, note="gazes are per clip"),
        time("gaze", "gaze", "gaze"),
        time("reconstruct", "reconstr.", "reconstruct"),
        time("whole", "end to end", WHOLE),
        time_column(
            "whole_p95",
            "p95",
            WHOLE,
            "frame",
            part=lambda summary: summary.p95,
            spare=1,
            note="p95 is that of end to end",
        ),
        *over_ours_columns(),
        AGREEMENT,
        MEMORY,
        ENERGY,
        quality_column("psnr", "PSNR", "dB", 2),
        quality_column("ssim", "SSIM", "", 4, spare=4),
    ]


def _engines(results: Sequence[CellResult]) -> list[CellColumn]:
    def synchronisations(result: CellResult) -> float | None:
        # An engine that counts its launches counts these too, and one that has none has nothing to count.
        known = result.counter("launches") is not None
        return result.per("call", result.counter("host_synchronisations") or 0.0) if known else None

    note = "steps, launches and syncs (waits of the host) are those of a call, which takes a whole batch"

    # Of a peer's repetition the rest is the way to its process and back.
    return [
        Column("kept", "kept", KEPT.value, KEPT.unit, KEPT.format, spare=4),
        time_column("clip", "gaze", "gaze", "clip"),
        time_column("frame", "gaze", "gaze", "frame", spare=1),
        Column("step", "step", step_time, "µs", microseconds),
        count_column("steps", "steps", "decode_steps", "call", spare=2, note=note),
        count_column("launches", "launches", "launches", "call", note=note),
        Column("synchronisations", "syncs", synchronisations, "/call", mean_count, note=note),
        speed_up_column(lambda result: peer(result, results, engine=EAGER), EAGER, "gaze"),
        *over_ours_columns(),
        same_patches_column(results),
        AGREEMENT,
        Column("memory", "memory", MEMORY.value, MEMORY.unit, MEMORY.format, spare=3),
        ENERGY,
    ]


def _encode(results: Sequence[CellResult]) -> list[CellColumn]:
    return [
        KEPT,
        time_column("clip", "encode", WHOLE, "clip"),
        time_column("frame", "encode", WHOLE, "frame"),
        speed_up_column(
            lambda result: peer(result, results, setting="dense"), "the dense cell of the same axes"
        ),
        MEMORY,
        ENERGY,
    ]


def _attention(results: Sequence[CellResult]) -> list[CellColumn]:
    compute = [column for column in rate_columns(results) if column.key == "compute"]
    return [
        time_column("call", "time", WHOLE, "call"),
        *compute,
        speed_up_column(lambda result: peer(result, results, backend=EAGER), EAGER),
        error_column("error.max", f"error is the largest difference from {EAGER}", spare=3),
        MEMORY,
    ]


def _kernel(results: Sequence[CellResult]) -> list[CellColumn]:
    return [
        Column("shape", "shape", _shapes(results, varying=True), numeric=False),
        time_column("call", "time", WHOLE, "call", format=microseconds),
        *rate_columns(results),
        ceiling_column("of_copy", "of copy", "bytes"),
        ceiling_column("of_matmul", "of matmul", "flops"),
        speed_up_column(lambda result: peer(result, results, form="reference"), "the reference"),
        error_column(
            "relative_error",
            "error is the largest difference from the reference, relative to its deviation",
            spare=4,
        ),
    ]


def _ceiling(results: Sequence[CellResult]) -> list[CellColumn]:
    highest = max((result.figure("ceiling.flops_per_second") or 0.0 for result in results), default=0.0)
    return [
        Column("copy", "copy", lambda result: result.figure("ceiling.bytes_per_second"), "GB/s", giga),
        compute_column("matmul", highest, lambda result: result.figure("ceiling.flops_per_second")),
    ]


def _quality(results: Sequence[CellResult]) -> list[CellColumn]:
    judged = dict.fromkeys(
        str(result.axis("judge")) for result in results if result.axis("judge") not in (None, "pixels")
    )
    return [
        KEPT,
        count_column("gazes", "gazes", "selected_patches", spare=4, note="gazes are per clip"),
        quality_column("loss", "loss", "", 4),
        quality_column("psnr", "PSNR", "dB", 2),
        quality_column("ssim", "SSIM", "", 4, spare=2),
        quality_column("mae", "MAE", "", 4, spare=3),
        *(quality_column(judge, judge, "", 4) for judge in judged),
        Column(
            "overlap",
            "overlap",
            lambda result: result.quality("overlap"),
            "%",
            percent,
            spare=1,
            note="overlap is the share of patches that a frame and the one before it have in common, of "
            "those that either has",
        ),
        time_column("gaze", "choosing", "gaze", "frame", spare=5),
    ]


def _sizes(result: CellResult) -> dict[str, str]:
    """Return the named sizes of a kernel's inputs, which only a cell that was set up knows."""
    return dict(size.split("=") for size in str(result.detail("shape") or "").split())


def _shapes(results: Sequence[CellResult], varying: bool) -> Callable[[CellResult], str]:
    """Return what says, in words, those sizes of a cell that vary among the results, or those that do not."""
    by_size = {result.axis("size"): sizes for result in results if (sizes := _sizes(result))}
    names = dict.fromkeys(name for sizes in by_size.values() for name in sizes)
    chosen = [name for name in names if (len({sizes.get(name) for sizes in by_size.values()}) > 1) is varying]

    def shape(result: CellResult) -> str:
        sizes = by_size.get(result.axis("size"), {})
        return axes_text({name: sizes[name] for name in chosen if name in sizes})

    return shape


def _kernel_remarks(results: Sequence[CellResult]) -> list[str]:
    constant = next(filter(None, map(_shapes(results, varying=False), results)), "")
    return [f"in every shape: {constant}"] if constant else []


def _other(results: Sequence[CellResult]) -> list[CellColumn]:
    return [
        KEPT,
        time_column("call", "time", WHOLE, "call"),
        MEMORY,
        quality_column("psnr", "PSNR", "dB", 2),
    ]


_ENGINE_RAN = _ran("engine", "gaze.engine")


def _engine_remarks(results: Sequence[CellResult]) -> list[str]:
    """Say which engine ran where that was left open, and what a peer was that took part."""
    peers = [
        f"released is the package at commit {result.detail('released.commit') or 'unknown'}, with torch "
        f"{result.detail('released.torch')}, transformers {result.detail('released.transformers')} and "
        f"{result.detail('released.attention')}; ours beside it is engine {result.detail('ours.engine')}"
        for result in results
        if result.detail("released.torch")
    ]
    return [*_ENGINE_RAN(results), *dict.fromkeys(peers)]


VIDEO = View("Pipeline", "clip", _video, _engine_remarks)
ENGINES = View("Engines", "clip", _engines, _engine_remarks, rivals="engine", points="setting")
ENCODE = View("Encoder", "clip", _encode)
ATTENTION = View(
    "Attention", "call", _attention, _ran("backend", "attention.kernels"), rivals="backend", points="tokens"
)
KERNEL = View("Kernels", "call", _kernel, _kernel_remarks, apart="operation", rivals="form", points="size")
QUALITY = View("Selectors", "clip", _quality, _ENGINE_RAN, apart="source")
EVALUATION = View("Evaluation", "clip", evaluation_columns, _ENGINE_RAN, table=settings_table)
CEILING = View("Ceilings", "call", _ceiling)
OTHER = View("Other workloads", "call", _other)
"""For workloads that a suite brings itself: only what can be said of any."""

VIEWS: Mapping[str, View] = {
    **dict.fromkeys(VIDEO_WORKLOADS, VIDEO),
    "encode": ENCODE,
    "attention": ATTENTION,
    "kernel": KERNEL,
    "ceiling": CEILING,
    "quality": QUALITY,
    "evaluate": EVALUATION,
}
"""Workload name to its view; a run over several engines reads ``gaze`` in the view ``ENGINES``."""
