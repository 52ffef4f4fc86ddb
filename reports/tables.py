"""The tables of a report: which columns each has, what they hold and in which unit.

Every cell is a row of every table, whatever became of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.clocks import WHOLE
from bench.statistics import Summary
from reports.document import Column, Table, tabulate
from reports.published import PublishedFigure, matching
from reports.results import CellResult, several_runs, varying_axes
from reports.units import fixed, giga, mean_count, mebibytes, milliseconds, number, percent, text, whole

CellColumn = Column[CellResult]
Row = TypeVar("Row")

_AXIS_UNITS = {"chunk": "frames", "batch": "clips"}

STATUS: CellColumn = Column("status", "status", lambda result: result.status.replace("_", " "), numeric=False)
KEPT: CellColumn = Column("kept", "kept", lambda result: result.kept_ratio, "%", percent)


def _median(summary: Summary) -> float:
    return summary.median


def identity_columns(results: Sequence[CellResult]) -> list[CellColumn]:
    """Return what tells the rows apart: the run where there are several, and every axis that varies."""
    columns: list[CellColumn] = []
    if several_runs(results):
        columns.append(Column("device", "device", lambda result: result.label, numeric=False))
    columns += [_axis_column(name, results) for name in varying_axes(results)]
    return columns or [_axis_column("workload", results)]


def _axis_column(name: str, results: Sequence[CellResult]) -> CellColumn:
    numeric = all(isinstance(result.axis(name), int | float | None) for result in results)
    return Column(name, name, lambda result: result.axis(name), _AXIS_UNITS.get(name, ""), text, numeric)


def _per_frame(
    key: str, heading: str, stage: str, *, part: Callable[[Summary], float] = _median, spare: int = 0
) -> CellColumn:
    def value(result: CellResult) -> float | None:
        summary = result.stages.get(stage)
        return result.per_frame(part(summary)) if summary else None

    return Column(key, heading, value, "ms/frame", milliseconds, spare=spare)


def _per_clip(key: str, heading: str, counter: str, spare: int = 0) -> CellColumn:
    return Column(
        key,
        heading,
        lambda result: result.per_clip(result.counter(counter)),
        "/clip",
        mean_count,
        spare=spare,
    )


def _quality(name: str, heading: str, unit: str, decimals: int, spare: int = 0) -> CellColumn:
    return Column(name, heading, lambda result: result.quality(name), unit, fixed(decimals), spare=spare)


def summary_table(results: Sequence[CellResult]) -> Table:
    """Return the table to read first: cost and quality of every cell, without empty columns."""
    columns = [
        *identity_columns(results),
        KEPT,
        _per_clip("gazes", "gazes", "selected_patches", spare=3),
        _per_frame("gaze", "gaze", "gaze"),
        _per_frame("reconstruct", "reconstr.", "reconstruct"),
        _per_frame("whole", "end to end", WHOLE),
        _per_frame("whole_p95", "p95", WHOLE, part=lambda summary: summary.p95, spare=1),
        Column("memory", "memory", lambda result: result.peak_memory, "MiB", mebibytes, spare=2),
        Column("energy", "energy", lambda result: result.per_clip(result.energy), "J/clip", number, spare=5),
        _quality("psnr", "PSNR", "dB", 2),
        _quality("ssim", "SSIM", "", 4, spare=4),
        STATUS,
    ]
    return tabulate(columns, results).without_empty()


@dataclass(frozen=True)
class _Stage:
    """A stage of a cell; nameless where the cell has no samples at all."""

    result: CellResult
    name: str

    def time(self, part: Callable[[Summary], float]) -> float | None:
        """Return a statistic of the time for a clip, in seconds."""
        summary = self.result.stages.get(self.name)
        return self.result.per_clip(part(summary)) if summary else None


def _lifted(column: CellColumn, result_of: Callable[[Row], CellResult]) -> Column[Row]:
    return Column(
        column.key,
        column.heading,
        lambda row: column.value(result_of(row)),
        column.unit,
        column.format,
        column.numeric,
    )


def stage_table(results: Sequence[CellResult]) -> Table:
    """Return a row for each stage of each cell: time per clip and per frame, share of its parent, samples."""
    rows = [_Stage(result, name) for result in results for name in (list(result.stages) or [""])]

    def time(key: str, heading: str, part: Callable[[Summary], float]) -> Column[_Stage]:
        return Column(key, heading, lambda row: row.time(part), "ms/clip", milliseconds)

    def on_device(row: _Stage) -> float | None:
        summary = row.result.device_stages.get(row.name)
        return row.result.per_clip(summary.median) if summary else None

    def per_frame(row: _Stage) -> float | None:
        return row.result.per_frame(row.result.median(row.name))

    def samples(row: _Stage) -> int:
        return row.result.stages[row.name].count if row.name else 0

    columns: list[Column[_Stage]] = [
        *(_lifted(column, lambda row: row.result) for column in identity_columns(results)),
        Column("stage", "stage", lambda row: row.name, numeric=False),
        Column("samples", "samples", samples, "", whole),
        time("clip_median", "median", _median),
        time("clip_p5", "p5", lambda summary: summary.p5),
        time("clip_p95", "p95", lambda summary: summary.p95),
        Column("frame_median", "median", per_frame, "ms/frame", milliseconds),
        Column("share", "of parent", lambda row: row.result.share(row.name), "%", percent),
        Column("on_device", "device events", on_device, "ms/clip", milliseconds),
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
        seconds("warmup", "first warm-up", lambda result: result.first_warmup(WHOLE)),
        seconds("process", "whole process", lambda result: result.process_seconds),
        STATUS,
    ]
    return tabulate(columns, results).without_empty()


def work_table(results: Sequence[CellResult]) -> Table:
    """Return how much work each cell did, so that more work and slower work can be told apart."""

    def step_time(result: CellResult) -> float | None:
        steps, time = result.counter("decode_steps"), result.median("gaze.steps")
        return time / steps if time is not None and steps else None

    def per_clip_giga(key: str, heading: str, unit: str, counter: str) -> CellColumn:
        return Column(key, heading, lambda result: result.per_clip(result.counter(counter)), unit, giga)

    columns = [
        *identity_columns(results),
        Column("clips", "clips", lambda result: result.counter("clips"), "", mean_count),
        Column("frames", "frames", lambda result: result.counter("frames"), "", mean_count),
        _per_clip("candidates", "candidates", "candidate_patches"),
        _per_clip("selected", "selected", "selected_patches"),
        _per_clip("padded", "padded", "padded_patches"),
        _per_clip("steps", "decode steps", "decode_steps"),
        Column("step_time", "time", step_time, "ms/step", milliseconds),
        per_clip_giga("flops", "arithmetic", "GFLOP/clip", "flops"),
        per_clip_giga("bytes", "traffic", "GB/clip", "bytes"),
        Column("patch_hash", "patch hash", lambda result: result.patch_hash, numeric=False),
        STATUS,
    ]
    return tabulate(columns, results).without_empty()


def quality_table(results: Sequence[CellResult]) -> Table:
    """Return the quality of every cell's reconstruction: means over the frames of the timed outputs."""
    columns = [
        *identity_columns(results),
        KEPT,
        _quality("psnr", "PSNR", "dB", 2),
        _quality("ssim", "SSIM", "", 4),
        _quality("loss", "loss", "", 4),
        _quality("mae", "MAE", "", 4),
        _quality("mse", "MSE", "", 5),
        STATUS,
    ]
    return tabulate(columns, results)


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
        return _lifted(_per_frame(key, heading, stage), lambda pair: pair.ours)

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
        if result.ok
        for figure in matching(result.axis("setting"), result.axis("chunk"))
    ]
    return tabulate(columns, pairs).without_empty()
