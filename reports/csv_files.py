"""The CSV files of a run: all that the tables show and more, unrounded, in seconds, bytes and joules."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autogaze.files import write_text
from bench.records import WHOLE
from reports.results import CellResult
from reports.units import Value

Row = dict[str, Value]

_QUALITY = ("loss", "mae", "mse", "psnr", "ssim")


def write_csv_files(results: Sequence[CellResult], folder: Path) -> list[Path]:
    """Write ``cells.csv`` (a row a cell), ``stages.csv`` (a row a stage) and ``frames.csv`` (a row a frame).

    Every cell is in the first two, whatever became of it.
    """
    axes = list(dict.fromkeys(name for result in results for name in result.cell.axes))
    files = {"cells.csv": _cell_rows(results, axes), "stages.csv": _stage_rows, "frames.csv": _frame_rows}
    for name, rows_of in files.items():
        rows = [_identity(result, axes) | row for result in results for row in rows_of(result)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(folder / name, text.getvalue())
    return [folder / name for name in files]


def _identity(result: CellResult, axes: Sequence[str]) -> Row:
    return {
        "run": result.run.id,
        "device": result.label,
        "workload": result.cell.workload,
        **{name: result.axis(name) for name in axes},
        "status": result.status,
    }


def _over_ours(result: CellResult) -> Row:
    ratio = result.over_ours
    return {
        "over_ours": ratio.estimate if ratio else None,
        "over_ours_low": ratio.low if ratio else None,
        "over_ours_high": ratio.high if ratio else None,
    }


def _cell_rows(results: Sequence[CellResult], axes: Sequence[str]) -> Callable[[CellResult], Iterator[Row]]:
    """Make the rows of cells: times are medians of a repetition, counters those of a repetition.

    Every counter of any cell is a column (``counted_`` before the name of an axis), and so is every detail
    that is a number or a word.
    """
    records = [result.record for result in results if result.record]
    counters = dict.fromkeys(name for record in records for name in record.counters)
    details = dict.fromkeys(
        name for record in records for name, value in record.details.items() if _is_plain(value)
    )

    def rows(result: CellResult) -> Iterator[Row]:
        whole = result.stages.get(WHOLE)
        yield {
            "reason": result.reason,
            "samples": whole.count if whole else 0,
            **{f"{stage}_seconds": result.median(stage) for stage in ("gaze", "reconstruct", WHOLE)},
            "kept_ratio": result.kept_ratio,
            **{f"counted_{name}" if name in axes else name: result.counter(name) for name in counters},
            **{name: result.quality(name) for name in _QUALITY},
            **_over_ours(result),
            "patch_hash": result.patch_hash,
            "resident_peak_bytes": result.memory.resident_peak,
            "device_allocated_peak_bytes": result.memory.device_allocated_peak,
            "device_reserved_peak_bytes": result.memory.device_reserved_peak,
            "energy_joules": result.energy,
            "process_seconds": result.process_seconds,
            "notes": "; ".join(result.notes),
            **{f"details.{name}": result.detail(name) for name in details},
        }

    return rows


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and "\n" not in value)


def _stage_rows(result: CellResult) -> Iterator[Row]:
    for stage in list(result.stages) or [""]:
        summary, on_device = result.stages.get(stage), result.device_stages.get(stage)
        yield {
            "stage": stage,
            "samples": summary.count if summary else 0,
            "median_seconds": summary.median if summary else None,
            "p5_seconds": summary.p5 if summary else None,
            "p95_seconds": summary.p95 if summary else None,
            "seconds_per_clip": result.per("clip", summary.median if summary else None),
            "seconds_per_frame": result.per("frame", summary.median if summary else None),
            "device_median_seconds": on_device.median if on_device else None,
            "share_of_parent": result.share(stage),
        }


def _frame_rows(result: CellResult) -> Iterator[Row]:
    for frame in result.frames:
        yield dict(frame.model_dump())
