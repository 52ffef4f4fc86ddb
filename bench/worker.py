"""The measuring process: a program for :class:`autogaze.child_process.ChildProcess` that is sent jobs.

The order of a cell: build the workload (stage ``setup``); warm up; then repeat until there are enough samples
(:mod:`bench.pace`). The whole of every repetition is stage ``end_to_end``. Its clock has stopped, and
the garbage collector rests, before the outputs of that very repetition are judged.

A profiler, where it is asked for, watches one repetition more, after all that are timed.

Where a peer does the work, this project does it too, right after or right before, in turns: stage ``ours``,
which lies outside the repetition. Memory is then the peer's.

Nothing here imports torch, unless the device is a CUDA one: it is the workload that decides what is loaded.
"""

import hashlib
import importlib
import itertools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autogaze.errors import InputError
from autogaze.files import replacing
from autogaze.stages import observed_by
from bench import pace
from bench.costs import warmups
from bench.failures import classified
from bench.fingerprint import fingerprint
from bench.job import TURN, Event, Job
from bench.measurement import Measurement, record_of
from bench.meters.clocks import DeviceClock, StageClock, device_clock
from bench.meters.collector import at_rest, settled
from bench.meters.cpu_load import OTHERS, LoadMeter
from bench.meters.instructions import Counter, open_counter
from bench.meters.memory import MemoryMeter
from bench.meters.power import PowerMeter, open_meter
from bench.profiling import profile_repetition
from bench.records import (
    ARRAYS,
    ARRAYS_FOLDER,
    OURS,
    TRACES_FOLDER,
    WHOLE,
    Record,
    Sample,
    Status,
)
from bench.survey import Question, survey
from suites.workload import Doubting, Inputs, Paired, Quality, Renewing, Workload

_PROFILER_ROOM = 5.0
"""Repetitions that must fit before one is profiled: watched it takes several times as long, and its trace has
to be written."""

Send = Callable[[Event], None]

_TASK: TypeAdapter[Question | Job] = TypeAdapter(Question | Job)
"""What a measuring process is sent."""


@dataclass(frozen=True)
class _Meters:
    """What a repetition is measured with."""

    clock: DeviceClock
    power: PowerMeter
    instructions: Counter

    def stages(self) -> StageClock:
        """Return a clock for the stages of one repetition."""
        return StageClock(self.clock, self.instructions)


def measure(job: Job, send: Send, lines: Iterable[str] = ()) -> Record:
    """Measure one cell; whatever goes wrong in the workload becomes the record's status and reason.

    A job in turns takes one for each of ``lines`` that says so.
    """
    measurement = Measurement()
    try:
        with closing(open_counter()) as instructions, ExitStack() as loaded:
            _measure(job, send, measurement, iter(lines), instructions, loaded)
        doubt = _doubt(measurement)
        return record_of(job, measurement, Status.INVALID if doubt else Status.OK, doubt)
    except Exception as error:
        status, reason = classified(error)
        details = (
            {"refused": True} if isinstance(error, InputError) else {"traceback": traceback.format_exc()}
        )
        return record_of(job, measurement, status, reason, details)


def _measure(
    job: Job,
    send: Send,
    measurement: Measurement,
    lines: Iterator[str],
    instructions: Counter,
    loaded: ExitStack,
) -> None:
    inputs = Inputs(**job.inputs)  # type: ignore[arg-type]
    meters = _Meters(device_clock(inputs.device), open_meter(job.pci_id), instructions)
    send(Event(kind="phase", phase="setup"))
    started = time.perf_counter()
    module, _, name = job.target.partition(":")
    workload: Workload = getattr(importlib.import_module(module), name)(job.cell.axes, inputs)
    meters.clock.synchronise()
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
        _, samples, _, _ = _repeat(workload, meters, index, warmup=True)
        _keep(measurement, send, samples + _ours(paired, meters, index, warmup=True))

    loaded.enter_context(settled())
    judge, load = _Judge(workload), LoadMeter(paired.peer.pid if paired and paired.peer else None)
    taken = measurement.taken
    for index in _turns(send, lines, taken) if job.in_turns else pace.repetitions(job, started, taken):
        send(Event(kind="phase", phase=f"sample {index + 1}"))
        # Every other time ours goes first, so that neither always finds the machine as the other left it.
        ours = _ours(paired, meters, index) if index % 2 else []
        memory.begin()
        output, samples, counters, joules = _repeat(workload, meters, index, warmup=False)
        memory.end()
        measurement.joules += [] if joules is None else [joules]
        ours = ours or _ours(paired, meters, index)
        for sample in (samples[0], *ours[:1]):
            taken.add(sample.stage, sample.seconds)
        _keep(measurement, send, samples + ours)
        measurement.counted.append(dict(counters))
        measurement.judged.append(judge(output))
        del output
    measurement.others = load.share() or 0.0
    if measurement.judged:
        measurement.kept = _keep_arrays(job, measurement.judged[-1])
        if job.profiled and job.folder is not None:
            send(Event(kind="phase", phase="profile"))
            measurement.kept |= _profiled(job, workload, measurement, started)


def _turns(send: Send, lines: Iterator[str], taken: pace.Taken) -> Iterator[int]:
    """Count repetitions for as long as there are turns to take."""
    taken.ended = pace.TURNS
    for index in itertools.count():
        send(Event(kind="turn"))
        if next(lines, "").strip() != TURN:
            break
        yield index


def _repeat(
    workload: Workload, meters: _Meters, index: int, warmup: bool
) -> tuple[Any, list[Sample], dict[str, int], float | None]:
    """Run the workload once; return outputs, the time of every stage (the whole first), work counted, joules
    used."""
    stages, meter = meters.stages(), meters.power
    peer = workload.peer if isinstance(workload, Paired) else None
    load = LoadMeter(peer.pid if peer else None)
    if isinstance(workload, Renewing):
        workload.renew()
        meters.clock.synchronise()
    with at_rest():
        load.begin()
        before = meter.energy_joules()
        with observed_by(stages), stages.stage(WHOLE):
            output = workload.run()
    after = meter.energy_joules()
    joules = None if before is None or after is None else after - before
    others = load.share()
    telemetry = meter.telemetry() | ({} if others is None else {OTHERS: others})
    return output, _samples(stages, index, warmup, telemetry), stages.counters, joules


def _ours(paired: Paired | None, meters: _Meters, index: int, warmup: bool = False) -> list[Sample]:
    """Do with our own means what a peer does; return the time of it, or nothing where there is no peer."""
    if paired is None:
        return []
    stages = meters.stages()
    with at_rest(), stages.stage(OURS):
        paired.run_ours()
    return _samples(stages, index, warmup)


def _samples(
    stages: StageClock, index: int, warmup: bool, telemetry: dict[str, float | str] | None = None
) -> list[Sample]:
    """Return the time of every stage of a repetition; ``telemetry`` goes with that of the whole."""
    return [
        Sample(
            index=index,
            stage=name,
            **asdict(taken),
            warmup=warmup,
            telemetry=(telemetry or {}) if name == WHOLE else {},
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

    name = f"{ARRAYS_FOLDER}/{_file_stem(job)}.npz"
    with replacing(Path(job.folder, name)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **dict(quality.arrays))
    return {ARRAYS: name}


def _file_stem(job: Job) -> str:
    """Return a name for files of a cell: its key has characters that file systems do not, and may be longer
    than they allow."""
    return hashlib.sha256(job.cell.key.encode()).hexdigest()[:16]


def _profiled(job: Job, workload: Workload, measurement: Measurement, started: float) -> dict[str, Any]:
    """Have a profiler watch one more repetition; return what it saw, or why there is nothing to see. What
    goes wrong here spoils no sample."""
    whole = measurement.taken.seconds[WHOLE]
    left = job.timeout_seconds - (time.perf_counter() - started)
    is_elsewhere = isinstance(workload, Paired) and workload.peer is not None
    if is_elsewhere:
        return {"profile.none": "the work is done in another process"}
    if _PROFILER_ROOM * max(whole) > left:
        return {"profile.none": f"it would not fit into {job.timeout_seconds:g} s"}
    try:
        return profile_repetition(
            workload,
            str(job.inputs["device"]),
            Path(job.folder or ""),
            f"{TRACES_FOLDER}/{_file_stem(job)}.json.gz",
            whole,
            measurement.judged[-1].counters,
        )
    except Exception as error:
        return {"profile.none": traceback.format_exception_only(error)[-1].strip().splitlines()[0]}


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
