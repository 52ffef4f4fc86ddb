"""The raw samples and per-frame figures of a run as tables, drawn from its journal."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import journal
from bench.records import Record

SAMPLES_FILE = "samples.parquet"
FRAMES_FILE = "frames.parquet"


def export(folder: Path) -> list[Path]:
    """Write ``samples.parquet`` and ``frames.parquet`` into the run folder; return their paths."""
    _, records = journal.read_run(folder)
    return [
        _write(
            sample_rows(records), folder / SAMPLES_FILE, ["cell", "workload", "index", "stage", "seconds"]
        ),
        _write(frame_rows(records), folder / FRAMES_FILE, ["cell", "workload", "clip", "frame", "gazes"]),
    ]


def sample_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one row a sample: its cell and axes, its times, and the work of one repetition of that cell."""
    return [
        {
            **_cell_columns(record),
            **sample.model_dump(exclude={"telemetry"}),
            **{f"work_{name}": amount for name, amount in record.counters.items()},
            **sample.telemetry,
        }
        for record in records
        for sample in record.samples
    ]


def frame_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one row a frame of each cell."""
    return [{**_cell_columns(record), **frame.model_dump()} for record in records for frame in record.frames]


def _cell_columns(record: Record) -> dict[str, Any]:
    axes = {f"axis_{name}": None if value is None else str(value) for name, value in record.cell.axes.items()}
    return {"cell": record.cell.key, "workload": record.cell.workload, **axes}


def _write(rows: list[dict[str, Any]], path: Path, columns_if_empty: list[str]) -> Path:
    """Write the rows beside ``path`` and rename them into place."""
    import pandas as pd

    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns_if_empty)
    beside = path.with_name(f".{path.name}")
    table.to_parquet(beside, index=False)
    os.replace(beside, path)
    return path
