"""The measuring process: a program for :class:`autogaze.child_process.ChildProcess` that is sent jobs.

The order of a cell: build the workload (stage ``setup``); warm up; then repeat until there are enough samples
and the time budget is used. The whole of every repetition is stage ``end_to_end``. Its clock has stopped, and
the garbage collector rests, before the outputs of that very repetition are judged.

Where a peer does the work, this project does it too, right after or right before, in turns: stage ``ours``,
which lies outside the repetition. Memory is then the peer's.

Nothing here imports torch, unless the device is a CUDA one: it is the workload that decides what is loaded.
"""

import gc
import hashlib
import importlib
import itertools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autogaze.errors import BackendUnavailable, InputError
from autogaze.files import replacing
from autogaze.stages import observed_by
from bench.costs import MOST_SAMPLES, warmups
from bench.fingerprint import fingerprint
from bench.job import TURN, Event, Job
from bench.meters.clocks import DeviceClock, StageClock, device_clock
from bench.meters.cpu_load import OTHERS, LoadMeter, others_share
from bench.meters.memory import MemoryMeter
from bench.meters.power import PowerMeter, open_meter
from bench.records import (
    ARRAYS,
    ARRAYS_FOLDER,
    BUSY,
    CPU_OTHERS,
    OURS,
    WHOLE,
    FrameQuality,
    Memory,
    Record,
    Sample,
    Status,
)
from bench.survey import Question, survey
from suites.workload import Doubting, Inputs, Paired, Quality, Renewing, Workload

_ROOM = 2.0
"""Repetitions, each as long as the longest so far, that must fit before another one begins: a slow
cell takes fewer samples, and is not lost."""

Send = Callable[[Event], None]

_TASK: TypeAdapter[Question | Job] = TypeAdapter(Question | Job)
"""What a measuring process is sent."""


@dataclass
class Measurement:
    """What has been measured so far; grows, and is what remains when something goes wrong."""

    samples: list[Sample] = field(default_factory=list)
    spent: float = 0.0
    """Seconds of the timed repetitions, a peer's turns and ours."""
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
    """Details of the record that say where arrays are kept."""


def measure(job: Job, send: Send, lines: Iterable[str] = ()) -> Record:
    """Measure one cell; whatever goes wrong in the workload becomes the record's status and reason.

    A job in turns takes one for each of ``lines`` that says so.
    """
    measurement = Measurement()
    try:
        _measure(job, send, measurement, iter(lines))
        doubt = _doubt(measurement)
        return _record(job, measurement, Status.INVALID if doubt else Status.OK, doubt)
    except Exception as error:
        status, reason = _classified(error)
        details = (
            {"refused": True} if isinstance(error, InputError) else {"traceback": traceback.format_exc()}
        )
        return _record(job, measurement, status, reason, details)


def _measure(job: Job, send: Send, measurement: Measurement, lines: Iterator[str]) -> None:
    inputs = Inputs(**job.inputs)  # type: ignore[arg-type]
    clock = device_clock(inputs.device)
    meter = open_meter(job.pci_id)
    send(Event(kind="phase", phase="setup"))
    started = time.perf_counter()
    module, _, name = job.target.partition(":")
    workload: Workload = getattr(importlib.import_module(module), name)(job.cell.axes, inputs)
    clock.synchronise()
    _keep(
        measurement,
        send,
        [Sample(index=0, stage="setup", seconds=time.perf_counter() - started, warmup=True)],
    )
    measurement.workload = workload
    paired = workload if isinstance(workload, Paired) and workload.peer is not None else None
    measurement.memory = memory = MemoryMeter(inputs.device, paired.peer if paired else None)

    send(Event(kind="phase", phase="warm-up"))
    for index in range(warmups(inputs.device)):
        _, samples, _, _ = _repeat(workload, clock, meter, index, warmup=True)
        _keep(measurement, send, samples + _ours(paired, clock, index, warmup=True))

    judge, load = _Judge(workload), LoadMeter(paired.peer.pid if paired and paired.peer else None)
    pace = _turns(send, lines) if job.in_turns else _budgets(job, started, measurement)
    for index in pace:
        send(Event(kind="phase", phase=f"sample {index + 1}"))
        # Every other time ours goes first, so that neither always finds the machine as the other left it.
        ours = _ours(paired, clock, index) if index % 2 else []
        memory.begin()
        output, samples, counters, joules = _repeat(workload, clock, meter, index, warmup=False)
        memory.end()
        measurement.joules += [] if joules is None else [joules]
        ours = ours or _ours(paired, clock, index)
        measurement.spent += sum(sample.seconds for sample in (samples[0], *ours))
        _keep(measurement, send, samples + ours)
        measurement.counted.append(dict(counters))
        measurement.judged.append(judge(output))
        del output
    measurement.others = load.share() or 0.0
    if measurement.judged:
        measurement.kept = _keep_arrays(job, measurement.judged[-1])


def _budgets(job: Job, started: float, measurement: Measurement) -> Iterator[int]:
    """Count repetitions until there are enough of them and the time budget is used, as far as the timeout
    lets."""
    longest = 0.0
    index = 0
    while index < job.min_samples or (measurement.spent < job.time_budget_seconds and index < MOST_SAMPLES):
        began = time.perf_counter()
        if index and began - started + _ROOM * longest > job.timeout_seconds:
            break
        yield index
        index += 1
        longest = max(longest, time.perf_counter() - began)


def _turns(send: Send, lines: Iterator[str]) -> Iterator[int]:
    """Count repetitions for as long as there are turns to take."""
    for index in itertools.count():
        send(Event(kind="turn"))
        if next(lines, "").strip() != TURN:
            break
        yield index


def _repeat(
    workload: Workload, clock: DeviceClock, meter: PowerMeter, index: int, warmup: bool
) -> tuple[Any, list[Sample], dict[str, int], float | None]:
    """Run the workload once; return outputs, the time of every stage (the whole first), work counted, joules
    used."""
    stages = StageClock(clock)
    peer = workload.peer if isinstance(workload, Paired) else None
    load = LoadMeter(peer.pid if peer else None)
    if isinstance(workload, Renewing):
        workload.renew()
        clock.synchronise()
    gc.collect()
    gc.disable()
    load.begin()
    before = meter.energy_joules()
    try:
        with observed_by(stages), stages.stage(WHOLE):
            output = workload.run()
    finally:
        gc.enable()
    after = meter.energy_joules()
    joules = None if before is None or after is None else after - before
    others = load.share()
    telemetry = meter.telemetry() | ({} if others is None else {OTHERS: others})
    samples = [
        Sample(
            index=index,
            stage=name,
            seconds=taken.seconds,
            cpu_seconds=taken.cpu_seconds,
            device_seconds=taken.device_seconds,
            warmup=warmup,
            telemetry=telemetry if name == WHOLE else {},
        )
        for name, taken in stages.times().items()
    ]
    return output, samples, stages.counters, joules


def _ours(paired: Paired | None, clock: DeviceClock, index: int, warmup: bool = False) -> list[Sample]:
    """Do with our own means what a peer does; return the time of it, or nothing where there is no peer."""
    if paired is None:
        return []
    stages = StageClock(clock)
    gc.collect()
    gc.disable()
    try:
        with stages.stage(OURS):
            paired.run_ours()
    finally:
        gc.enable()
    return [
        Sample(
            index=index,
            stage=name,
            seconds=taken.seconds,
            cpu_seconds=taken.cpu_seconds,
            device_seconds=taken.device_seconds,
            warmup=warmup,
        )
        for name, taken in stages.times().items()
    ]


def _doubt(measurement: Measurement) -> str | None:
    """Return why the times cannot be true, where the workload knows its device's limits."""
    workload: object = measurement.workload
    if not isinstance(workload, Doubting):
        return None
    return workload.impossible(
        [sample.seconds for sample in measurement.samples if sample.stage == WHOLE and not sample.warmup]
    )


class _Judge:
    """Judges each repetition's outputs; outputs that are bit for bit the last ones are worth the same."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._print: str | None = None
        self._quality: Quality | None = None

    def __call__(self, output: Any) -> Quality:
        print_ = fingerprint(output)
        if self._quality is None or print_ is None or print_ != self._print:
            self._quality = self._workload.quality(output)
            self._print = print_
        return self._quality


def _keep(measurement: Measurement, send: Send, samples: Sequence[Sample]) -> None:
    measurement.samples += samples
    send(Event(kind="samples", samples=tuple(samples)))


def _keep_arrays(job: Job, quality: Quality) -> dict[str, Any]:
    """Write the arrays that a workload keeps into the run's folder; return what the record says of them."""
    if job.folder is None or not quality.arrays:
        return {}
    import numpy as np

    # A cell's key has characters that file systems do not, and may be longer than they allow.
    name = f"{ARRAYS_FOLDER}/{hashlib.sha256(job.cell.key.encode()).hexdigest()[:16]}.npz"
    with replacing(Path(job.folder, name)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **dict(quality.arrays))
    return {ARRAYS: name}


def _record(
    job: Job,
    measurement: Measurement,
    status: Status,
    reason: str | None = None,
    details: dict[str, Any] | None = None,
) -> Record:
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


def _classified(error: Exception) -> tuple[Status, str]:
    if isinstance(error, BackendUnavailable):
        return Status.UNSUPPORTED, str(error)
    if isinstance(error, InputError):
        return Status.FAILED, str(error)
    sentence = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return Status.OUT_OF_MEMORY, sentence
    return Status.FAILED, sentence


def _is_torch_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate" in str(error)


def serve(commands: int, answers: int) -> None:
    """Measure one job after another: lines from and to these file descriptors."""
    with os.fdopen(commands, encoding="utf-8") as jobs, os.fdopen(answers, "w", encoding="utf-8") as pipe:

        def send(event: Event) -> None:
            pipe.write(event.model_dump_json() + "\n")
            pipe.flush()

        for line in jobs:
            task = _TASK.validate_json(line)
            if isinstance(task, Question):
                send(Event(kind="answer", answer=survey(task)))
            else:
                send(Event(kind="record", record=measure(task, send, jobs)))


def main() -> None:
    serve(int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
