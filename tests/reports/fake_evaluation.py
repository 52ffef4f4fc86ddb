"""A run of the suite ``evaluate``, made up from the published rows: four clips at seven settings."""

import csv
import json
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bench import journal
from bench.records import AxisValue, Cell, FrameQuality, Record, Run, Sample, Status
from tests.reports.fake_run import run_of

PUBLISHED = Path(str(files("reports.published"))) / "h100"
NUMBERS: dict[str, type] = {"clip_start": int, "non_padded_gazes": int, "frame_idx": int}
TEXTS = ("clip_name", "setting", "non_padded_gazes_by_frame", "num_gazing_each_frame")
DAMAGED = "video 'a.mp4' is damaged: it should have 64 frames, and decoding ends before frame 40"
PATCHES = 265


def published_rows(name: str) -> list[dict[str, Any]]:
    """Read published rows as an evaluator would hold them: numbers, and None for an argument not given."""
    with (PUBLISHED / name).open(encoding="utf-8", newline="") as file:
        return [
            {
                key: value if key in TEXTS else NUMBERS.get(key, float)(value) if value else None
                for key, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


def evaluation_records(
    damaged: Collection[str] = (), notes: tuple[str, ...] = (), **axes: AxisValue
) -> list[Record]:
    """Return a record for each clip and setting; the clips that are ``damaged`` could not be decoded."""
    frames = published_rows("metrics_by_frame.csv")
    records = []
    for row in published_rows("metrics_by_clip_setting.csv"):
        names = {"clip": row["clip_name"], "setting": row["setting"]}
        cell = Cell(workload="evaluate", axes={**names, "chunk": 16, "attention": "sdpa", **axes})
        mine = [
            frame
            for frame in frames
            if (frame["clip_name"], frame["setting"]) == (row["clip_name"], row["setting"])
        ]
        if row["clip_name"] in damaged:
            records.append(Record(cell=cell, status=Status.FAILED, reason=DAMAGED, details={"refused": True}))
        else:
            records.append(_record(cell, row, mine, notes))
    return records


_FIGURES = {
    "loss": "reconstruction_loss",
    "mae": "pixel_mae",
    "mse": "pixel_mse",
    "psnr": "psnr",
    "ssim": "ssim",
}
"""Of a published row, by the names that records have."""


def _record(cell: Cell, row: dict[str, Any], frames: list[dict[str, Any]], notes: tuple[str, ...]) -> Record:
    clip = int(str(row["clip_name"]).split("_")[1])
    qualities = [
        FrameQuality(
            clip=clip,
            frame=frame["frame_idx"],
            gazes=frame["non_padded_gazes"],
            **{name: frame[column] for name, column in _FIGURES.items()},
        )
        for frame in frames
    ]
    times = {"gaze": row["gaze_seconds"], "reconstruct": row["reconstruction_seconds"]}
    times["end_to_end"] = sum(times.values())
    samples = [Sample(index=0, stage="gaze", seconds=99.0, warmup=True)]
    samples += [
        Sample(index=index, stage=stage, seconds=factor * seconds)
        for index, factor in enumerate((1.0, 0.9, 7.0))
        for stage, seconds in times.items()
    ]
    requirement = row["task_loss_requirement_arg"]
    return Record(
        cell=cell,
        status=Status.OK,
        samples=tuple(samples),
        counters={
            "clips": 1,
            "frames": 16,
            "selected_patches": row["non_padded_gazes"],
            "candidate_patches": 16 * PATCHES,
        },
        frames=tuple(qualities),
        quality={name: row[column] for name, column in _FIGURES.items()}
        | {"kept_ratio": row["actual_gaze_ratio"]},
        patch_hash="0123456789abcdef",
        notes=notes,
        details={
            "gaze.engine": "graph",
            "gaze_outputs": {
                "scales": [32, 64, 112, 224],
                "num_vision_tokens_each_frame": PATCHES,
                "task_loss_requirement": None if requirement is None else [[requirement] * 16],
                "num_gazing_each_frame": json.loads(row["num_gazing_each_frame"]),
            },
        },
    )


def with_pictures(records: list[Record], folder: Path, clip: str) -> list[Record]:
    """Keep small arrays of the cells of a clip in the run's folder, as a measuring process does."""
    kept = []
    for number, record in enumerate(records):
        if record.cell.axes["clip"] == clip and record.status is Status.OK:
            name = f"arrays/{number}.npz"
            (folder / "arrays").mkdir(exist_ok=True)
            pictures = np.full((2, 8, 8, 3), 100, np.uint8)
            masks = {
                f"mask_{scale}": np.zeros((2, (scale // 16) ** 2), np.uint8) for scale in (32, 64, 112, 224)
            }
            np.savez(folder / name, original=pictures, reconstruction=pictures, **masks)
            record = record.model_copy(update={"details": record.details | {"arrays": name}})
        kept.append(record)
    return kept


def evaluation_run(records: list[Record], **run: Any) -> Run:
    """Return the head of a run that planned these cells."""
    usual = {"device": "NVIDIA H100", "run_id": "20260501T120000Z-evaluate-h100-7a8b"}
    head = run_of([record.cell for record in records], **usual | run)
    return head.model_copy(update={"suite": "evaluate"})


def write_evaluation_run(parent: Path, records: list[Record], **run: Any) -> Path:
    """Write the run as the bench does, with pictures of its first clip; return its folder."""
    folder = journal.create(evaluation_run(records, **run), parent)
    with journal.appending(folder) as append:
        for record in with_pictures(records, folder, "clip_00_start_0000"):
            append(record)
    return folder
