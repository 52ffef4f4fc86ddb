"""The published reconstruction evaluation, from the records of its cells: rows by clip and by frame, means by
setting."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from reports.columns import (
    KEPT,
    CellColumn,
    count_column,
    identity_columns,
    quality_column,
    time_column,
)
from reports.document import Column, Table, tabulate
from reports.naming import cell_label
from reports.results import CellResult
from reports.units import Value

Row = dict[str, Value]

WORKLOAD = "evaluate"

CLIP_COLUMNS = (
    "clip_name",
    "clip_start",
    "setting",
    "gazing_ratio_arg",
    "task_loss_requirement_arg",
    "non_padded_gazes",
    "actual_gaze_ratio",
    "reconstruction_loss",
    "pixel_mae",
    "pixel_mse",
    "psnr",
    "ssim",
    "gaze_seconds",
    "reconstruction_seconds",
    "non_padded_gazes_by_frame",
    "num_gazing_each_frame",
)
"""One row for each clip and setting. Times are in seconds, medians over the timed repetitions; the last two
are JSON lists, a number a frame. A cell that did not succeed has its name and its setting alone."""
FRAME_COLUMNS = (
    "clip_name",
    "clip_start",
    "setting",
    "frame_idx",
    "reconstruction_loss",
    "non_padded_gazes",
    "pixel_mae",
    "pixel_mse",
    "psnr",
    "ssim",
)
"""One row for each frame of each clip and setting; ``frame_idx`` counts within the clip."""
MEANS = (
    "actual_gaze_ratio",
    "non_padded_gazes",
    "reconstruction_loss",
    "pixel_mae",
    "pixel_mse",
    "psnr",
    "ssim",
    "gaze_seconds",
    "reconstruction_seconds",
)
"""The columns of which there are means over clips for each setting."""

_FIGURES = {
    "reconstruction_loss": "loss",
    "pixel_mae": "mae",
    "pixel_mse": "mse",
    "psnr": "psnr",
    "ssim": "ssim",
}
"""Published column to the figure of a frame."""
_LIMIT = re.compile(r"(ratio|task)_([0-9.]+)")
"""A part of a setting's name, such as ``ratio_0.75_task_0.70``."""


@dataclass(frozen=True)
class SettingResult:
    """The cells of one run that differ in their clip alone."""

    name: str
    """What tells it from the others: its setting, and the run where there are several."""
    results: tuple[CellResult, ...]

    @property
    def setting(self) -> str:
        return str(self.results[0].axis("setting"))

    def mean(self, value: Callable[[CellResult], Value]) -> Value:
        """Return the mean of a figure over the clips that have it."""
        found = [value(result) for result in self.results if result.ok]
        numbers = [number for number in found if isinstance(number, int | float)]
        return fmean(numbers) if numbers else None

    @property
    def status(self) -> str:
        ok = sum(result.ok for result in self.results)
        return "ok" if ok == len(self.results) else f"{ok} of {len(self.results)} clips"


def by_setting(results: Iterable[CellResult]) -> list[SettingResult]:
    """Gather cells that differ in their clip alone, in the order of the plan."""
    found: dict[tuple[object, ...], list[CellResult]] = {}
    for result in results:
        axes = tuple((name, value) for name, value in result.cell.axes.items() if name != "clip")
        found.setdefault((result.run.id, axes), []).append(result)
    firsts = [members[0] for members in found.values()]
    return [
        SettingResult(
            cell_label(members[0], firsts, "clip") if len(firsts) > 1 else str(members[0].axis("setting")),
            tuple(members),
        )
        for members in found.values()
    ]


def columns(results: Sequence[CellResult]) -> list[CellColumn]:
    """Return what the summary says of a clip or of a setting."""

    def time(key: str, heading: str, stage: str) -> CellColumn:
        return time_column(key, heading, stage, "frame", note="times are medians in ms per frame")

    return [
        KEPT,
        count_column("gazes", "gazes", "selected_patches", spare=1, note="gazes are per clip"),
        quality_column("loss", "loss", "", 4),
        quality_column("mae", "MAE", "", 4, spare=2),
        quality_column("psnr", "PSNR", "dB", 2),
        quality_column("ssim", "SSIM", "", 4),
        time("gaze", "gaze", "gaze"),
        time("reconstruct", "reconstr.", "reconstruct"),
    ]


def settings_table(results: Sequence[CellResult]) -> Table:
    """Return a row for each setting: means over its clips, and how many clips there are of those planned."""
    settings = by_setting(results)
    named = identity_columns([setting.results[0] for setting in settings])

    def of_first(column: CellColumn) -> Column[SettingResult]:
        return _lifted(column, lambda setting: column.value(setting.results[0]))

    def mean(column: CellColumn) -> Column[SettingResult]:
        return _lifted(column, lambda setting: setting.mean(column.value))

    return tabulate(
        [
            *(of_first(column) for column in named if column.key != "clip"),
            *(mean(column) for column in columns(results)),
            Column("status", "status", lambda setting: setting.status, numeric=False),
        ],
        settings,
    ).without_empty()


def _lifted(column: CellColumn, value: Callable[[SettingResult], Value]) -> Column[SettingResult]:
    return Column(
        column.key,
        column.heading,
        value,
        column.unit,
        column.format,
        column.numeric,
        column.spare,
        column.note,
    )


def clip_name(result: CellResult) -> str:
    """Return the published name of the cell's clip: ``clip_01_start_0016``."""
    return str(result.axis("clip"))


def _name(result: CellResult) -> Row:
    return {
        "clip_name": clip_name(result),
        "clip_start": int(clip_name(result).rpartition("_")[2]),
        "setting": str(result.axis("setting")),
    }


def clip_row(result: CellResult) -> Row:
    """Return the row of a clip at a setting, in :data:`CLIP_COLUMNS`."""
    limits = dict(_LIMIT.findall(str(result.axis("setting"))))
    row: Row = {
        **dict.fromkeys(CLIP_COLUMNS),
        **_name(result),
        "gazing_ratio_arg": float(limits["ratio"]) if "ratio" in limits else None,
        "task_loss_requirement_arg": float(limits["task"]) if "task" in limits else None,
    }
    if not result.ok:
        return row
    slots = (result.detail("gaze_outputs") or {}).get("num_gazing_each_frame")
    return row | {
        "non_padded_gazes": sum(frame.gazes for frame in result.frames),
        "actual_gaze_ratio": result.kept_ratio,
        **{column: result.quality(figure) for column, figure in _FIGURES.items()},
        "gaze_seconds": result.median("gaze"),
        "reconstruction_seconds": result.median("reconstruct"),
        "non_padded_gazes_by_frame": json.dumps([frame.gazes for frame in result.frames]),
        "num_gazing_each_frame": json.dumps(slots),
    }


def frame_rows(result: CellResult) -> list[Row]:
    """Return the rows of the frames of a clip at a setting, in :data:`FRAME_COLUMNS`."""
    if not result.ok:
        return []
    return [
        {
            **_name(result),
            "frame_idx": frame.frame,
            "non_padded_gazes": frame.gazes,
            **{column: getattr(frame, figure) for column, figure in _FIGURES.items()},
        }
        for frame in result.frames
    ]


def setting_rows(clips: Sequence[Row]) -> list[Row]:
    """Return for each setting, in the order of their names, the means over the clips that have figures."""
    rows: list[Row] = []
    for setting in sorted({str(row["setting"]) for row in clips}):
        mine = [row for row in clips if row["setting"] == setting]
        rows.append({"setting": setting} | {name: _mean([row[name] for row in mine]) for name in MEANS})
    return rows


def _mean(values: Iterable[Value]) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return fmean(numbers) if numbers else None
