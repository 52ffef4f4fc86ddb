"""Parquet files of a run, its raw samples and per-frame figures, drawn from its journal.

Every file of a kind has the same columns of the same types, whatever was measured on whatever device, so that
the files of several runs can be read as one table. What differs from suite to suite is a map: ``axes`` holds
the cell's values by axis, ``work`` the counters of one repetition by name.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze.files import replacing
from bench import journal
from bench.meters.cpu_load import OTHERS
from bench.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES_FILE = "samples.parquet"
FRAMES_FILE = "frames.parquet"

_CELL = {"cell": "string", "workload": "string", "axes": "labels"}
_SAMPLE_COLUMNS = {
    **_CELL,
    "index": "int64",
    "stage": "string",
    "seconds": "float64",
    "cpu_seconds": "float64",
    "device_seconds": "float64",
    "instructions": "int64",
    "warmup": "bool_",
    "work": "amounts",
}
TELEMETRY_COLUMNS = {
    "power_watts": "float64",
    "sm_clock_mhz": "float64",
    "temperature_celsius": "float64",
    "throttle_reasons": "string",
    OTHERS: "float64",
}
"""What the meters tell after a repetition; null where one cannot be read."""
_FRAME_COLUMNS = {
    **_CELL,
    "clip": "int64",
    "frame": "int64",
    "gazes": "int64",
    **dict.fromkeys(("loss", "mae", "mse", "psnr", "ssim"), "float64"),
}


def export(folder: Path) -> list[Path]:
    """Write ``samples.parquet`` and ``frames.parquet`` into the run folder; return their paths."""
    _, records = journal.read_run(folder)
    return [
        _write(sample_rows(records), folder / SAMPLES_FILE, _SAMPLE_COLUMNS | TELEMETRY_COLUMNS),
        _write(frame_rows(records), folder / FRAMES_FILE, _FRAME_COLUMNS),
    ]


def sample_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one row a sample: its cell and axes, its times, and the work of one repetition of that cell."""
    return [
        {
            **_cell_columns(record),
            **sample.model_dump(exclude={"telemetry"}),
            "work": list(record.counters.items()),
            **sample.telemetry,
        }
        for record in records
        for sample in record.samples
    ]


def frame_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one row a frame of each cell."""
    return [{**_cell_columns(record), **frame.model_dump()} for record in records for frame in record.frames]


def _cell_columns(record: Record) -> dict[str, Any]:
    axes = [(name, None if value is None else str(value)) for name, value in record.cell.axes.items()]
    return {"cell": record.cell.key, "workload": record.cell.workload, "axes": axes}


def _write(rows: list[dict[str, Any]], path: Path, columns: Mapping[str, str]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows, schema=_schema(columns))
    with replacing(path) as beside:
        pq.write_table(table, beside)
    return path


def _schema(columns: Mapping[str, str]) -> "pa.Schema":
    import pyarrow as pa

    maps = {"labels": pa.map_(pa.string(), pa.string()), "amounts": pa.map_(pa.string(), pa.float64())}
    return pa.schema([(name, maps.get(kind) or getattr(pa, kind)()) for name, kind in columns.items()])
