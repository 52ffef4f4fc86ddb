"""Machine-readable output: what ``--json`` prints, one document on standard output.

Keys are stable: they may be added, never renamed. Times are in seconds, sizes in bytes; what is not known is
null, and a number that JSON has no sign for is one of the strings ``Infinity``, ``-Infinity`` and ``NaN``, as
in the journal. CONTRIBUTING.md lists the keys.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from bench import journal
from bench.compare import CellComparison, Change, Comparison
from bench.plan import Plan
from bench.recorded import StageComparison
from bench.records import Record, Run
from bench.run_state import RunState, count_statuses, state_of
from bench.statistics import summarise

Document = dict[str, Any]


def print_json(document: Document) -> None:
    """Print a document, whatever numbers it holds, to standard output."""
    sys.stdout.write(json.dumps(_plain(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def identity(run: Run) -> Document:
    """Return which run it is: ``run``, when, what, where, and the code that was measured."""
    fields = run.environment.fields
    return {
        "run": run.id,
        "created": run.created,
        "suite": run.suite,
        "suite_version": run.suite_version,
        "command": run.command,
        "device": fields.get("device"),
        "device_name": fields.get("device.name"),
        "cpu_model": fields.get("cpu.model"),
        "commit": fields.get("git.commit"),
        "dirty": fields.get("git.dirty"),
    }


def state_document(state: RunState) -> Document:
    """Return a run as ``list`` shows it."""
    return {
        **(identity(state.run) if state.run else {"run": state.folder.name}),
        "folder": state.folder,
        "state": state.state,
        "reason": state.reason,
        "cells": len(state.run.cells) if state.run else None,
        "measured": state.measured if state.run else None,
        "statuses": state.statuses,
    }


def run_document(folder: Path, report: Path | None) -> Document:
    """Return a run with what became of each of its cells."""
    run, records = journal.read_run(folder)
    return {
        **identity(run),
        "folder": folder,
        "report": report,
        "state": state_of(folder).state,
        "statuses": count_statuses(records),
        "cells": [_cell_document(record) for record in records],
    }


def _cell_document(record: Record) -> Document:
    stages: dict[str, list[float]] = {}
    for sample in record.samples:
        if not sample.warmup:
            stages.setdefault(sample.stage, []).append(sample.seconds)
    summaries = {stage: summarise(seconds) for stage, seconds in stages.items()}
    return {
        "cell": record.cell.key,
        "workload": record.cell.workload,
        "axes": record.cell.axes,
        "status": record.status,
        "reason": record.reason,
        "notes": record.notes,
        "seconds": {
            stage: {"median": each.median, "p5": each.p5, "p95": each.p95, "samples": each.count}
            for stage, each in summaries.items()
        },
        "counters": record.counters,
        "quality": record.quality,
        "memory": record.memory.model_dump(),
        "energy_joules": record.energy_joules,
        "patch_hash": record.patch_hash,
        "process_seconds": record.elapsed_seconds,
    }


def plan_document(plan: Plan, run: Run | None = None) -> Document:
    """Return the cells of a plan and what they should cost; those left of ``run``, if it is given."""
    cells = [
        {"cell": cell.key, "workload": cell.workload, "axes": cell.axes, **asdict(estimate)}
        for cell, estimate in zip(plan.cells, plan.estimates)
    ]
    return {
        **(identity(run) if run else {}),
        "device": plan.device.torch_name,
        "device_name": plan.device.name,
        "seconds": plan.seconds,
        "memory_bytes": plan.memory_bytes,
        "left_out": plan.left_out,
        "cells": cells,
    }


def comparison_document(comparison: Comparison) -> Document:
    """Return a comparison: both runs, the verdict, and every cell; times are of one repetition."""
    return {
        "a": identity(comparison.run_a),
        "b": identity(comparison.run_b),
        "tolerance": comparison.tolerance,
        "allowed": comparison.allowed,
        "worse": [cell.key for cell in comparison.worse],
        "undecided": [cell.key for cell in comparison.undecided],
        "geometric_mean_ratios": comparison.mean_ratios,
        "ok_in_a_alone": comparison.left_out[0],
        "ok_in_b_alone": comparison.left_out[1],
        "exit_code": comparison.exit_code,
        "cells": [_compared(cell) for cell in comparison.cells],
    }


def _compared(cell: CellComparison) -> Document:
    def changes(found: Sequence[Change]) -> Document:
        return {change.name: {"a": change.a, "b": change.b, "worse": change.worse} for change in found}

    return {
        "cell": cell.key,
        "status_a": cell.status_a,
        "status_b": cell.status_b,
        "reason_a": cell.reason_a,
        "reason_b": cell.reason_b,
        "stages": {stage.stage: _compared_stage(stage) for stage in cell.stages},
        "memory": changes(cell.memory),
        "quality": changes(cell.quality),
        "energy": changes([cell.energy] if cell.energy else []),
        "work": changes(cell.work),
        "same_patches": cell.same_patches,
        "clips": cell.clips,
        "frames": cell.frames,
        "worse": cell.worse,
        "undecided": cell.undecided,
    }


def _compared_stage(stage: StageComparison) -> Document:
    """Return a stage of a compared cell; seconds of one repetition."""
    slower_work = stage.slower_work
    return {
        "a_seconds": stage.median_a,
        "b_seconds": stage.median_b,
        "ratio": stage.ratio.estimate,
        "ratio_low": stage.ratio.low,
        "ratio_high": stage.ratio.high,
        "second_clock_ratio": stage.witness.estimate if stage.witness else None,
        "margin": stage.margin.ratio,
        "margin_calibrated": stage.margin.calibrated,
        "slower_work_low": slower_work[0],
        "slower_work_high": slower_work[1],
        "percentiles": {
            f"p{percent}": {"a_seconds": a, "b_seconds": b} for percent, a, b in stage.percentiles
        },
        "verdict": stage.verdict,
        "reason": stage.reason,
        "warnings": stage.ratio.warnings,
    }
