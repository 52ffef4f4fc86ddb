"""Measurement: what a cell's process has found so far, and the record that is made of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import pace
from bench.job import Job
from bench.meters.cpu_load import others_share
from bench.meters.memory import MemoryMeter
from bench.records import BUSY, CPU_OTHERS, FrameQuality, Memory, Record, Sample, Status
from suites.workload import Quality, Workload


@dataclass
class Measurement:
    """What has been measured so far; grows, and is what remains when something goes wrong."""

    samples: list[Sample] = field(default_factory=list)
    taken: pace.Taken = field(default_factory=pace.Taken)
    """What the timed repetitions took, a peer's turns and ours."""
    judged: list[Quality] = field(default_factory=list)
    """Quality of each timed repetition."""
    counted: list[dict[str, float]] = field(default_factory=list)
    """Work counted by the library in each timed repetition."""
    joules: list[float] = field(default_factory=list)
    workload: Workload | None = None
    memory: MemoryMeter | None = None
    others: float = 0.0
    """Share of the CPUs that other programs had from the first timed repetition to the last."""
    kept: dict[str, Any] = field(default_factory=dict)
    """Details of the record that say where arrays and traces are kept, and what a profiler saw."""


def record_of(
    job: Job,
    measurement: Measurement,
    status: Status,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
) -> Record:
    """Return the record of a cell, whatever became of it."""
    workload, judged = measurement.workload, measurement.judged
    notes = list(workload.notes) if workload else []
    hashes = {quality.patch_hash for quality in judged}
    if len(hashes) > 1:
        notes.append(f"the timed repetitions chose {len(hashes)} different sets of patches")
    if 0 < len(judged) < job.min_samples:
        notes.append(
            f"{len(judged)} of {job.min_samples} samples: more would not fit into {job.timeout_seconds:g} s"
        )
    # Short repetitions have no share of their own; all of them together have.
    others = others_share(measurement.samples) or measurement.others
    if others > BUSY:
        notes.append(f"other programs used {others:.0%} of the CPUs while this was measured")
    frames = tuple(FrameQuality.model_validate(frame) for frame in judged[-1].frames) if judged else ()
    counters = _means(
        [{**quality.counters, **counted} for quality, counted in zip(judged, measurement.counted)]
    )
    joules = measurement.joules
    return Record(
        cell=job.cell,
        status=status,
        reason=reason,
        notes=tuple(notes),
        samples=tuple(measurement.samples),
        counters=counters,
        frames=frames,
        quality=_frame_means(frames) | _kept_ratio(counters) | _means([each.figures for each in judged]),
        patch_hash=hashes.pop() if len(hashes) == 1 else None,
        memory=measurement.memory.peaks() if measurement.memory else Memory(),
        energy_joules=sum(joules) / len(joules) if joules else None,
        details={
            **(workload.details if workload else {}),
            **(judged[-1].details if judged else {}),
            **measurement.kept,
            **measurement.taken.details(),
            CPU_OTHERS: others,
            **_process_details(),
            **(details or {}),
        },
    )


def _means(dictionaries: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each key over the dictionaries that have it."""
    names = dict.fromkeys(name for each in dictionaries for name in each)
    values = {name: [each[name] for each in dictionaries if name in each] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}


def _frame_means(frames: Sequence[FrameQuality]) -> dict[str, float]:
    figures = ("loss", "mae", "mse", "psnr", "ssim")
    return _means(
        [{name: getattr(f, name) for name in figures if getattr(f, name) is not None} for f in frames]
    )


def _kept_ratio(counters: dict[str, float]) -> dict[str, float]:
    candidates = counters.get("candidate_patches", 0)
    return {"kept_ratio": counters.get("selected_patches", 0) / candidates} if candidates else {}


def _process_details() -> dict[str, Any]:
    """Return what the libraries that the workload loaded say of themselves."""
    torch = sys.modules.get("torch")
    return {"torch_threads": torch.get_num_threads()} if torch else {}
