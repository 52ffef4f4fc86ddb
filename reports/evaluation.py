"""The files of ``make evaluate``: those of the published evaluator, name by name and column by column."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.charts import Panel, Series, curves, heat_map
from reports.document import Column, tabulate
from reports.markdown import markdown_table
from reports.naming import setting_kind
from reports.style import styled
from reports.units import fixed
from reports.visualization import write_visualization

__all__ = ["CLIP_COLUMNS", "FRAME_COLUMNS", "write_evaluation", "write_visualization"]

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
"""One row for each clip and setting. Times are in seconds; the last two are JSON lists, a number a frame."""
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

_MEANS = (
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
_DECIMALS = {
    "actual_gaze_ratio": 4,
    "non_padded_gazes": 1,
    "reconstruction_loss": 4,
    "pixel_mae": 4,
    "psnr": 3,
    "ssim": 4,
    "gaze_seconds": 4,
    "reconstruction_seconds": 4,
}
"""The columns of ``summary.txt`` and how they are rounded there."""
_CURVES = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", "1 = equal"),
    "reconstruction_loss": ("Reconstruction loss", "loss"),
    "pixel_mae": ("Pixel MAE", "MAE"),
    "non_padded_gazes": ("Gazes", "gazes per frame"),
    "gaze_seconds": ("Gaze time", "s per clip"),
    "reconstruction_seconds": ("Reconstruction time", "s per clip"),
}

Row = Mapping[str, Any]


def write_evaluation(
    folder: Path, metadata: object, clips: Sequence[Row], frames: Sequence[Row], notes: Sequence[str] = ()
) -> list[Path]:
    """Write every file of an evaluation but its visualizations into ``folder``; return the files.

    ``metadata`` is anything that JSON can hold. ``clips`` and ``frames`` have exactly the columns
    :data:`CLIP_COLUMNS` and :data:`FRAME_COLUMNS`; an argument that was not given is None. ``notes`` are the
    caveats to print beside the figures. Raises ``ValueError`` for other columns.
    """
    by_clip, by_frame = _table(clips, CLIP_COLUMNS), _table(frames, FRAME_COLUMNS)
    means = by_clip.groupby("setting", sort=True)[list(_MEANS)].mean().reset_index()
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    pages = {
        "metadata.json": json.dumps(metadata, indent=2) + "\n",
        "metrics_by_clip_setting.csv": by_clip.to_csv(index=False),
        "metrics_by_frame.csv": by_frame.to_csv(index=False),
        "summary_by_setting.csv": means.to_csv(index=False),
        "summary.txt": _summary(by_clip, means, notes),
    }
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return [*(folder / name for name in pages), *_write_plots(folder, by_frame, means, notes)]


def _table(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    for row in rows:
        if set(row) != set(columns):
            raise ValueError(f"evaluation rows need the columns {', '.join(columns)}; found {', '.join(row)}")
    return pd.DataFrame(rows, columns=list(columns))


def _summary(by_clip: pd.DataFrame, means: pd.DataFrame, notes: Sequence[str]) -> str:
    def column(name: str) -> Column[dict[str, Any]]:
        return Column(name, name, lambda row: row[name], "", fixed(_DECIMALS[name]))

    starts = sorted(by_clip["clip_start"].unique().tolist())
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()}
        for row in means.sort_values("actual_gaze_ratio").to_dict("records")
    ]
    setting: Column[dict[str, Any]] = Column("setting", "setting", lambda row: row["setting"], numeric=False)
    table = tabulate([setting, *(column(name) for name in _DECIMALS)], rows)
    return "\n".join(
        [
            "# AutoGaze Reconstruction Evaluation",
            "",
            f"Clip starts: {', '.join(str(start) for start in starts)}",
            f"Number of clips: {by_clip['clip_name'].nunique()}",
            *(f"Note: {note}" for note in notes),
            "",
            markdown_table(table),
            "",
        ]
    )


def _write_plots(
    folder: Path, by_frame: pd.DataFrame, means: pd.DataFrame, notes: Sequence[str]
) -> list[Path]:
    settings = list(dict.fromkeys(by_frame["setting"]))

    def along(name: str) -> dict[str, list[float]]:
        """Return the mean over clips of a column for each frame, by setting."""
        table = by_frame.groupby(["setting", "frame_idx"])[name].mean()
        return {setting: table.loc[setting].tolist() for setting in settings}

    def by_frame_panel(name: str) -> Panel:
        lines = [Series(setting, range(len(values)), values) for setting, values in along(name).items()]
        return Panel(*_CURVES[name], lines)

    def titled(title: str) -> str:
        return "\n".join([title, *notes])

    gazes = along("non_padded_gazes")
    along_frames = ("psnr", "ssim", "reconstruction_loss", "non_padded_gazes")
    with styled():
        figures = {
            "gaze_heatmap": heat_map(
                settings, list(gazes.values()), titled("Gazes in each frame, mean over clips")
            ),
            "per_frame_curves": curves(
                [by_frame_panel(name) for name in along_frames],
                titled("Quality by frame, mean over clips"),
                "frame of the clip",
            ),
            "tradeoff_curves": curves(
                [_tradeoff(means, name) for name in _CURVES if name in means and name != "non_padded_gazes"],
                titled("Quality and time against gazed patches, means over clips"),
                "patches gazed at, %",
            ),
        }
        paths = []
        for name, figure in figures.items():
            paths.append(folder / "plots" / f"{name}.png")
            figure.savefig(paths[-1])
    return paths


def _tradeoff(means: pd.DataFrame, name: str) -> Panel:
    ordered = means.sort_values("actual_gaze_ratio")
    kinds = [setting_kind(setting) for setting in ordered["setting"]]
    lines = []
    for kind in dict.fromkeys(sorted(kinds)):
        rows = ordered[[found == kind for found in kinds]]
        lines.append(Series(kind, (100 * rows["actual_gaze_ratio"]).tolist(), rows[name].tolist()))
    return Panel(*_CURVES[name], lines)
