"""Runs and records made by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import journal
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
) -> Record:
    seconds = seconds or {"end_to_end": [1.0] * 5}
    samples = [
        Sample(index=index, stage=stage, seconds=value)
        for stage, values in seconds.items()
        for index, value in enumerate(values)
    ]
    return Record(
        cell=which,
        status=status,
        reason=None if status is Status.OK else "it broke",
        samples=tuple(samples),
        quality=quality or {},
        memory=Memory(resident_peak=resident),
        patch_hash=patch_hash,
        elapsed_seconds=2.0,
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
