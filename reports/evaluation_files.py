"""The published evaluator's files, name by name and column by column, drawn from the records of a run."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import ARRAYS
from reports.charts import MissingDataError
from reports.document import Column, tabulate
from reports.evaluation import (
    CLIP_COLUMNS,
    FRAME_COLUMNS,
    MEANS,
    Row,
    clip_name,
    clip_row,
    frame_rows,
    setting_rows,
)
from reports.evaluation_plots import gaze_heat_map, per_frame_curves, tradeoff_curves
from reports.markdown import markdown_table
from reports.results import UNTRAINED, CellResult
from reports.sections import caveats, unsuccessful
from reports.style import styled
from reports.units import fixed
from reports.visualization import write_visualization

PLOTS = {
    "gaze_heatmap": gaze_heat_map,
    "per_frame_curves": per_frame_curves,
    "tradeoff_curves": tradeoff_curves,
}
"""Published name to what draws it."""

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


def write_evaluation(results: Sequence[CellResult], run: Path, out: Path) -> list[Path]:
    """Write every file of the published evaluator into ``out``; return the files.

    ``results`` are cells of the workload ``evaluate``, one for each clip and setting, of the run in folder
    ``run``, which holds what pictures are drawn from. A cell that did not succeed is a row without figures,
    and ``summary.txt`` and ``metadata.json`` say why.
    """
    remarks = [f"Not evaluated: {sentence}" for sentence in unsuccessful(results)]
    remarks += [f"Note: {note}" for note in caveats(results)]
    clips = [clip_row(result) for result in results]
    frames = [row for result in results for row in frame_rows(result)]
    return [
        *write_tables(out, [_metadata(result) for result in results], clips, frames, remarks),
        *_write_plots(results, out / "plots"),
        *_write_pictures(results, run, out / "visualizations"),
    ]


def write_tables(
    out: Path, metadata: object, clips: Sequence[Row], frames: Sequence[Row], remarks: Sequence[str] = ()
) -> list[Path]:
    """Write what is no picture: ``metadata``, anything that JSON can hold; the rows of clips and frames, and
    their means; a summary with ``remarks`` above its table."""
    settings = setting_rows(clips)
    pages = {
        "metadata.json": json.dumps(metadata, indent=2) + "\n",
        "metrics_by_clip_setting.csv": _csv(CLIP_COLUMNS, clips),
        "metrics_by_frame.csv": _csv(FRAME_COLUMNS, frames),
        "summary_by_setting.csv": _csv(("setting", *MEANS), settings),
        "summary.txt": _summary(clips, settings, remarks),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (out / name).write_text(page, encoding="utf-8")
    return [out / name for name in pages]


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _summary(clips: Sequence[Row], settings: Sequence[Row], remarks: Sequence[str]) -> str:
    def column(name: str) -> Column[Row]:
        return Column(name, name, lambda row: row[name], "", fixed(_DECIMALS[name]))

    def patches(row: Row) -> float:
        ratio = row["actual_gaze_ratio"]
        return ratio if isinstance(ratio, float) else float("inf")

    setting: Column[Row] = Column("setting", "setting", lambda row: row["setting"], numeric=False)
    table = tabulate([setting, *map(column, _DECIMALS)], sorted(settings, key=patches))
    starts = sorted({row["clip_start"] for row in clips})  # type: ignore[type-var]
    return "\n".join(
        [
            "# AutoGaze Reconstruction Evaluation",
            "",
            f"Clip starts: {', '.join(str(start) for start in starts)}",
            f"Number of clips: {len({row['clip_name'] for row in clips})}",
            *remarks,
            "",
            markdown_table(table),
            "",
        ]
    )


def _metadata(result: CellResult) -> dict[str, Any]:
    details = dict(result.record.details) if result.record else {}
    gaze_outputs = details.pop("gaze_outputs", None)
    details.pop(ARRAYS, None)
    return {
        "clip_name": clip_name(result),
        "setting": result.axis("setting"),
        "status": result.status,
        "reason": result.reason,
        "gaze_outputs": gaze_outputs,
        "patch_hash": result.patch_hash,
        "notes": list(result.notes),
        "details": details,
        "run": result.run.id,
    }


def _write_plots(results: Sequence[CellResult], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with styled():
        for name, draw in PLOTS.items():
            try:
                figure = draw(results)
            except MissingDataError:  # Nothing succeeded, and the summary says why.
                continue
            written.append(folder / f"{name}.png")
            figure.savefig(written[-1])
    return written


def _write_pictures(results: Sequence[CellResult], run: Path, folder: Path) -> list[Path]:
    """Draw every cell whose arrays were kept, and are still there."""
    written = []
    for result in results:
        arrays = run / str(result.detail(ARRAYS))
        if result.ok and result.detail(ARRAYS) and arrays.is_file():
            written.append(folder / f"{clip_name(result)}_{result.axis('setting')}.png")
            _draw(result, arrays, written[-1])
    return written


def _draw(result: CellResult, arrays: Path, path: Path) -> None:
    title = [clip_name(result), str(result.axis("setting"))]
    title += [note for note in result.notes if note.startswith(UNTRAINED)]
    with np.load(arrays) as held:
        masks = {
            int(name.removeprefix("mask_")): held[name] for name in held.files if name.startswith("mask_")
        }
        write_visualization(
            path,
            " | ".join(title),
            held["original"],
            held["reconstruction"],
            list(masks.values()),
            list(masks),
        )
