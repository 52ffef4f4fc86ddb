"""The tables of a report: a row for every cell, whatever became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.records import WHOLE
from bench.statistics import Summary
from reports.columns import (
    DISTURBED,
    KEPT,
    STATUS,
    CellColumn,
    count_column,
    identity_columns,
    median_of,
    quality_column,
    step_time,
    time_column,
)
from reports.document import Column, Table, tabulate
from reports.published import PublishedFigure, matching
from reports.results import CellResult, distinct_stages
from reports.summaries import VIDEO_WORKLOADS, Group
from reports.units import fixed, giga, mean_count, microseconds, milliseconds, number, percent, whole

Row = TypeVar("Row")


def summary_table(group: Group) -> Table:
    """Return the table to read first: what each cell, or each row of its view's own table, costs and gives,
    without empty columns."""
    if group.view.table is not None:
        return group.view.table(group.results)
    columns = [*identity_columns(group.results), *group.view.columns(group.results), STATUS, DISTURBED]
    return tabulate(columns, group.results).without_empty()


@dataclass(frozen=True)
class _Stage:
    """A stage of a cell; nameless where the cell has no samples at all."""

    result: CellResult
    name: str
    unit: str

    def time(self, part: Callable[[Summary], float]) -> float | None:
        """Return a statistic of the time for a unit of work, in seconds."""
        summary = self.result.stages.get(self.name)
        return self.result.per(self.unit, part(summary)) if summary else None


def _lifted(column: CellColumn, result_of: Callable[[Row], CellResult]) -> Column[Row]:
    return Column(
        column.key,
        column.heading,
        lambda row: column.value(result_of(row)),
        column.unit,
        column.format,
        column.numeric,
    )


def stage_table(group: Group) -> Table:
    """Return a row for each stage of each cell: its time for a unit of work, share of its parent, samples."""
    unit = group.view.unit
    rows = [
        _Stage(result, name, unit)
        for result in group.results
        for name in (distinct_stages(result.stages) or [""])
    ]

    def time(key: str, heading: str, part: Callable[[Summary], float]) -> Column[_Stage]:
        return Column(key, heading, lambda row: row.time(part), f"ms/{unit}", milliseconds)

    def on_device(row: _Stage) -> float | None:
        summary = row.result.device_stages.get(row.name)
        return row.result.per(unit, summary.median) if summary else None

    def per_frame(row: _Stage) -> float | None:
        return row.result.per("frame", row.result.median(row.name)) if unit == "clip" else None

    def samples(row: _Stage) -> int:
        return row.result.stages[row.name].count if row.name else 0

    columns: list[Column[_Stage]] = [
        *(_lifted(column, lambda row: row.result) for column in identity_columns(group.results)),
        Column("stage", "stage", lambda row: row.name, numeric=False),
        Column("samples", "samples", samples, "", whole),
        time("median", "median", median_of),
        time("p5", "p5", lambda summary: summary.p5),
        time("p95", "p95", lambda summary: summary.p95),
        Column("frame_median", "median", per_frame, "ms/frame", milliseconds),
        Column("share", "of parent", lambda row: row.result.share(row.name), "%", percent),
        Column("on_device", "device events", on_device, f"ms/{unit}", milliseconds),
        _lifted(STATUS, lambda row: row.result),
    ]
    return tabulate(columns, rows).without_empty()


def outside_table(results: Sequence[CellResult]) -> Table:
    """Return what lies outside the timed repetitions: set-up, the first warm-up, the whole process."""

    def seconds(key: str, heading: str, value: Callable[[CellResult], float | None]) -> CellColumn:
        return Column(key, heading, value, "s", number)

    columns = [
        *identity_columns(results),
        seconds("setup", "set-up", lambda result: result.first_warmup("setup")),
        seconds("compile", "compile", lambda result: result.first_warmup("compile")),
        seconds("warmup", "first warm-up", lambda result: result.first_warmup(WHOLE)),
        seconds("process", "whole process", lambda result: result.process_seconds),
        STATUS,
    ]
    return tabulate(columns, results).without_empty()


def work_table(group: Group) -> Table:
    """Return how much work each cell did, so that more work and slower work can be told apart."""
    unit = group.view.unit

    def per_unit_giga(key: str, heading: str, symbol: str, counter: str) -> CellColumn:
        def value(result: CellResult) -> float | None:
            return result.per(unit, result.counter(counter))

        return Column(key, heading, value, f"{symbol}/{unit}", giga)

    def repeated(counter: str) -> CellColumn:
        return Column(counter, counter, lambda result: result.counter(counter), "", mean_count)

    of_clips = [
        repeated("clips"),
        repeated("frames"),
        count_column("candidates", "candidates", "candidate_patches"),
        count_column("selected", "selected", "selected_patches"),
        count_column("padded", "padded", "padded_patches"),
        count_column("steps", "decode steps", "decode_steps"),
        Column("step_time", "time", step_time, "µs/step", microseconds),
        count_column("launches", "launches", "launches"),
    ]
    of_calls = [
        repeated("calls"),
        count_column("tokens", "tokens", "tokens", "call"),
        count_column("padded_tokens", "padded tokens", "padded_tokens", "call"),
    ]
    columns = [
        *identity_columns(group.results),
        *(of_clips if unit == "clip" else of_calls),
        per_unit_giga("flops", "compute", "GFLOP", "flops"),
        per_unit_giga("bytes", "traffic", "GB", "bytes"),
        Column("patch_hash", "patch hash", lambda result: result.patch_hash, numeric=False),
        STATUS,
    ]
    return tabulate(columns, group.results).without_empty()


def quality_table(group: Group) -> Table:
    """Return the quality of every cell's reconstruction: means over the frames of the timed outputs."""
    columns = [
        *identity_columns(group.results),
        KEPT,
        quality_column("psnr", "PSNR", "dB", 2),
        quality_column("ssim", "SSIM", "", 4),
        quality_column("loss", "loss", "", 4),
        quality_column("mae", "MAE", "", 4),
        quality_column("mse", "MSE", "", 5),
        STATUS,
    ]
    return tabulate(columns, group.results)


@dataclass(frozen=True)
class _Pair:
    """A cell and what was published for its setting and chunk size."""

    ours: CellResult
    theirs: PublishedFigure

    def comparable(self, quality: float | None) -> float | None:
        """Return their quality, or None where ours means nothing."""
        return None if self.ours.untrained else quality


def published_table(results: Sequence[CellResult]) -> Table:
    """Return ours beside the published figures, for every cell whose setting and chunk size were published.

    Quality is left out where our weights are untrained.
    """

    def time(key: str, heading: str, stage: str) -> Column[_Pair]:
        return _lifted(time_column(key, heading, stage, "frame"), lambda pair: pair.ours)

    def their_time(key: str, heading: str, value: Callable[[_Pair], float | None]) -> Column[_Pair]:
        return Column(key, heading, value, "ms/frame", milliseconds)

    columns: list[Column[_Pair]] = [
        *(_lifted(column, lambda pair: pair.ours) for column in identity_columns(results)),
        Column("kept", "kept, ours", lambda pair: pair.ours.kept_ratio, "%", percent),
        Column("their_kept", "kept, theirs", lambda pair: pair.theirs.kept, "%"),
        time("gaze", "gaze, ours", "gaze"),
        their_time("their_gaze", "gaze, theirs", lambda pair: pair.theirs.gaze),
        time("reconstruct", "reconstr., ours", "reconstruct"),
        their_time("their_reconstruct", "reconstr., theirs", lambda pair: pair.theirs.reconstruct),
        Column("psnr", "PSNR, ours", lambda pair: pair.ours.trained_quality("psnr"), "dB", fixed(2)),
        Column("their_psnr", "PSNR, theirs", lambda pair: pair.comparable(pair.theirs.psnr), "dB", fixed(2)),
        Column("their_lpips", "LPIPS, theirs", lambda pair: pair.comparable(pair.theirs.lpips), "", fixed(3)),
        Column("source", "theirs is", lambda pair: pair.theirs.name, numeric=False),
    ]
    pairs = [
        _Pair(result, figure)
        for result in results
        if result.ok and result.cell.workload in VIDEO_WORKLOADS
        for figure in matching(result.axis("setting"), result.axis("chunk"))
    ]
    return tabulate(columns, pairs).without_empty()
