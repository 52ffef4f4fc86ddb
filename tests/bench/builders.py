"""Runs and records made by hand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from bench import journal
from bench.calibration import Session, StageNoise
from bench.meters.cpu_load import OTHERS
from bench.records import AxisValue, Cell, Environment, Memory, Record, Run, Sample, Status


def cell(number: int = 0) -> Cell:
    return Cell(workload="fake", axes={"behaviour": "good", "number": number})


def record(
    which: Cell,
    seconds: Mapping[str, Sequence[float]] | None = None,
    status: Status = Status.OK,
    quality: dict[str, float] | None = None,
    resident: int = 2**30,
    patch_hash: str = "a",
    processor: float | None = 1.0,
    others: float = 0.0,
    counters: Mapping[str, float] | None = None,
) -> Record:
    """``processor`` is the processor time over the wall-clock time, None where it was not recorded;
    ``others`` is the share of the CPUs that other programs had."""
    seconds = seconds or {"end_to_end": [1.0] * 5}
    samples = [
        Sample(
            index=index,
            stage=stage,
            seconds=value,
            cpu_seconds=None if processor is None else processor * value,
            telemetry={OTHERS: others},
        )
        for stage, values in seconds.items()
        for index, value in enumerate(values)
    ]
    return Record(
        cell=which,
        status=status,
        reason=None if status is Status.OK else "it broke",
        samples=tuple(samples),
        quality=quality or {},
        counters=dict(counters or {}),
        memory=Memory(resident_peak=resident),
        patch_hash=patch_hash,
        elapsed_seconds=2.0,
    )


def session(
    cells: Mapping[str, Mapping[str, StageNoise]],
    started: str = "2026-01-01T00:00:00+00:00",
    seconds: float = 600.0,
    commit: str | None = "c0ffee",
    dirty: bool = False,
    others: float = 0.0,
) -> Session:
    """Return a calibration of the suite of :func:`run`."""
    return Session(
        started=datetime.fromisoformat(started),
        seconds=seconds,
        commit=commit,
        dirty=dirty,
        suite="fake",
        suite_version=1,
        others=others,
        cells={key: dict(stages) for key, stages in cells.items()},
    )


def run(
    cells: Sequence[Cell],
    identity: str = "run",
    fields: dict[str, AxisValue] | None = None,
    settings: dict[str, AxisValue] | None = None,
    suite: str = "fake",
    version: int = 1,
) -> Run:
    return Run(
        id=identity,
        created="2026-01-01T00:00:00+00:00",
        suite=suite,
        suite_version=version,
        command=("bench",),
        settings=settings or {},
        environment=Environment(
            fields={"device": "cpu", "device.name": "cpu", "gpu.driver": None, **(fields or {})}
        ),
        cells=tuple(cells),
    )


def write(head: Run, records: Sequence[Record], parent: Path) -> Path:
    folder = journal.create(head, parent)
    with journal.appending(folder) as append:
        for each in records:
            append(each)
    return folder
