"""A run from plan to finished journal."""

import hashlib
import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from autogaze.errors import InputError
from autogaze.files import remove_partial
from bench import forecast, journal
from bench.calibration import noise_sentence, read_calibration
from bench.costs import Limits, warmups
from bench.device_checks import check_device
from bench.devices import Device, find_devices
from bench.environment import describe, differences, torch_cuda_version
from bench.forecast import Forecast
from bench.fork_server import ForkServer, ForkServerError, open_fork_server
from bench.isolation import run_jobs
from bench.job import Job
from bench.margins import ALPHA
from bench.parquet import export
from bench.plan import Estimate, Plan, earlier_spent
from bench.records import AxisValue, Cell, Record, Run
from suites.loader import Point, Suite, check_inputs, workload_class
from suites.preflight import check_source
from suites.workload import Inputs, Sharing

PROFILE = "profile"
"""The setting of a run that says whether its cells are profiled."""

_BLOCK = 1 << 20


class Progress(Protocol):
    """Hears how a run gets on."""

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float, samples: int) -> None:
        """Hear that a cell starts; ``number`` counts from 1, and about so many samples will be taken."""

    def phase(self, name: str) -> None:
        """Hear what the cell does now."""

    def end(self, record: Record) -> None:
        """Hear what became of the cell."""


def start(
    suite: Suite,
    plan: Plan,
    inputs: Inputs,
    command: tuple[str, ...],
    results: Path,
    *,
    profiled: bool = False,
) -> Path:
    """Write the head of a new run into ``results`` and return the run's folder; the device is the plan's.

    A ``profiled`` run has a profiler's trace of each cell. Raises ``InputError`` for an output folder that
    cannot be written, a video that cannot be read, and inputs that some cell cannot be measured with.
    """
    return journal.create(head_of(suite, plan, inputs, command, profiled=profiled), results)


def head_of(
    suite: Suite, plan: Plan, inputs: Inputs, command: tuple[str, ...], *, profiled: bool = False
) -> Run:
    """Return the head of a new run; raises ``InputError`` for inputs that it cannot be measured with."""
    check_source(inputs.video)
    check_inputs(suite.points, suite.workloads, inputs)
    settings: dict[str, AxisValue] = {
        **{name: value for name, value in asdict(inputs).items() if name != "device"},
        "video_sha256": _video_hash(inputs.video),
        "min_samples": suite.min_samples,
        "time_budget_seconds": suite.time_budget_seconds,
        "timeout_seconds": suite.timeout_seconds,
        PROFILE: profiled,
    }
    environment = describe(plan.device)
    sessions = read_calibration(environment.fields).of(suite.name, suite.version)
    if (noise := noise_sentence(sessions, ALPHA)) is not None:
        settings["noise_floor"] = noise
    # A resumed run must find its workloads even if the suite was a file that is gone.
    settings |= {f"workload.{cell.workload}": suite.workloads[cell.workload] for cell in plan.cells}
    return Run(
        id=journal.run_id(suite.name, plan.device.slug),
        created=journal.utc_now(),
        suite=suite.name,
        suite_version=suite.version,
        command=command,
        settings=settings,
        environment=environment,
        cells=plan.cells,
    )


def check_resumable(run: Run) -> None:
    """Raise ``InputError`` where the cells to come would not be of one kind with those measured."""
    now = run.model_copy(
        update={
            "environment": describe(_device_of(run)),
            "settings": {**run.settings, "video_sha256": _video_hash(_text(run, "video"))},
        }
    )
    for matter, before, present in differences(run, now):
        raise InputError(
            f"run {run.id} was begun with {matter.label} '{before}', it is now '{present}': start a new run"
        )
    before, present = (each.environment.fields.get("git.commit") for each in (run, now))
    if before != present:
        raise InputError(
            f"run {run.id} was begun at commit {before}, the tree is now at {present}: "
            f"check that out, or start a new run"
        )


def proceed(folder: Path, progress: Progress, retry: bool = False) -> list[Record]:
    """Measure the cells of the run in ``folder`` that have no record yet; return all its records.

    With ``retry`` cells that failed or ran out of time are measured again. Interrupted, it leaves every
    finished cell in the journal. Raises ``InputError`` for inputs that a cell to come can no longer be
    measured with.
    """
    run, records = journal.read_run(folder)
    device = _device_of(run)
    cells = [run.cells[place] for place in journal.unfinished(run, records, retry)]
    inputs = _inputs(run, device)
    points = [Point(cell.workload, tuple(cell.axes.items())) for cell in cells]
    check_inputs(points, {cell.workload: _target(run, cell) for cell in cells}, inputs)
    with ExitStack() as stack:
        append = stack.enter_context(journal.appending(folder))
        progress.phase("importing what the cells need")
        server = stack.enter_context(_forking(run, cells))
        ahead = _forecast(run, cells, device, inputs, folder.parent, server, progress.phase)
        estimates = [ahead.estimate(cell) for cell in cells]
        runs_here = [each.obstacle is None for each in estimates]
        jobs = [_job(run, cell, device, inputs, folder) for cell in itertools.compress(cells, runs_here)]
        records_to_come = _measured(jobs, _number(run, "timeout_seconds"), progress.phase, server)
        stack.enter_context(closing(records_to_come))
        for place, (cell, expected) in enumerate(zip(cells, estimates, strict=True)):
            seconds_left = ahead.seconds_left(cells[place:])
            progress.begin(cell, place + 1, len(cells), seconds_left, ahead.samples(cell))
            record = next(records_to_come) if expected.obstacle is None else _not_started(cell, expected)
            append(record)
            ahead.learn(record)
            progress.end(record)
        records_to_come.close()
        remove_partial(folder)  # of processes that were killed; none is left, and the journal is locked
    export(folder)
    return journal.read_run(folder)[1]


def look_ahead(run: Run, plan: Plan, results: Path) -> Plan:
    """Return the plan of a run with what its cells are expected to cost, and which cannot run here.

    ``run`` is the head of the run, ``results`` where earlier runs lie. Processes are started to find out, and
    nothing is measured but the device's pace.
    """
    begun = time.monotonic()
    inputs = _inputs(run, plan.device)
    with _forking(run, plan.cells) as server:
        ahead = _forecast(run, plan.cells, plan.device, inputs, results, server, lambda name: None)
        start_seconds = time.monotonic() - begun
    estimates = tuple(ahead.estimate(cell) for cell in plan.cells)
    return replace(plan, estimates=estimates, others=ahead.others, start_seconds=start_seconds)


def _forecast(
    run: Run,
    cells: Sequence[Cell],
    device: Device,
    inputs: Inputs,
    results: Path,
    server: ForkServer | None,
    on_phase: Callable[[str], None],
) -> Forecast:
    if server is not None and server.obstacle is None:  # which waits for its imports
        on_phase("looking ahead")
    limits = Limits(
        min_samples=int(_number(run, "min_samples")),
        time_budget_seconds=_number(run, "time_budget_seconds"),
        timeout_seconds=_number(run, "timeout_seconds"),
        warmups=warmups(device.torch_name),
    )
    earlier = earlier_spent(results, device, run.settings)
    targets = {cell.workload: _target(run, cell) for cell in cells}
    return forecast.look_ahead(cells, targets, asdict(inputs), limits, earlier, server)


def _not_started(cell: Cell, expected: Estimate) -> Record:
    """Return the record of a cell that cannot run here, as was known before."""
    return Record(cell=cell, status=expected.status, reason=expected.obstacle, started=journal.utc_now())


def _measured(
    jobs: Sequence[Job],
    timeout_seconds: float,
    on_phase: Callable[[str], None],
    server: ForkServer | None,
) -> Generator[Record]:
    """Measure each job in a process of its own, those that share one where they follow each other in one."""
    for _, together in groupby(enumerate(jobs), key=_process):
        with closing(run_jobs([job for _, job in together], timeout_seconds, on_phase, server)) as records:
            yield from records


@contextmanager
def _forking(run: Run, cells: Sequence[Cell]) -> Iterator[ForkServer | None]:
    """Open a server that forks the processes of cells; None where there is no need or can be none."""
    imports = dict.fromkeys([_target(run, cell) for cell in cells])
    for cell in cells:
        imports |= dict.fromkeys(_preloaded(run, cell))
    with ExitStack() as stack:
        server = None
        with suppress(ForkServerError):
            if imports:
                server = stack.enter_context(open_fork_server(list(imports)))
        yield server


def _preloaded(run: Run, cell: Cell) -> Iterator[str]:
    """Yield the modules that the values of a cell's axes need."""
    known = workload_class(cell.workload, {cell.workload: _target(run, cell)}).axes
    for name, value in cell.axes.items():
        if name in known:
            yield from known[name].preload.get(value, ())


def _process(numbered: tuple[int, Job]) -> tuple[str, int]:
    """Return what is equal for jobs that are measured in one process."""
    number, job = numbered
    workload: object = workload_class(job.cell.workload, {job.cell.workload: job.target})
    # What a profiler leaves behind in a process must not touch the samples of the next cell.
    shares = isinstance(workload, Sharing) and workload.shares_process and not job.profiled
    return job.target, -1 if shares else number


def _inputs(run: Run, device: Device) -> Inputs:
    given: dict[str, Any] = {
        field.name: run.settings[field.name] for field in fields(Inputs) if field.name in run.settings
    }
    return Inputs(**given | {"device": device.torch_name})


def _target(run: Run, cell: Cell) -> str:
    return _text(run, f"workload.{cell.workload}") or ""


def _job(run: Run, cell: Cell, device: Device, inputs: Inputs, folder: Path) -> Job:
    return Job(
        cell=cell,
        target=_target(run, cell),
        inputs=asdict(inputs),
        pci_id=device.pci_id,
        min_samples=int(_number(run, "min_samples")),
        time_budget_seconds=_number(run, "time_budget_seconds"),
        timeout_seconds=_number(run, "timeout_seconds"),
        folder=str(folder.resolve()),
        profiled=bool(run.settings.get(PROFILE)),
    )


def _device_of(run: Run) -> Device:
    """Return the device the run was begun on; raises ``InputError`` where it is not here or cannot be
    used."""
    name = run.environment.fields.get("device")
    for device in find_devices():
        if device.torch_name == name:
            check_device(device, torch_cuda_version())
            return device
    raise InputError(f"run {run.id} was begun on {name}, which is not here: resume it where it was begun")


def _text(run: Run, name: str) -> str | None:
    value = run.settings.get(name)
    return None if value is None else str(value)


def _number(run: Run, name: str) -> float:
    value = run.settings.get(name)
    if not isinstance(value, int | float):
        raise InputError(f"run {run.id} does not say its {name}: start a new run")
    return value


def _video_hash(video: str | None) -> str | None:
    """Return the SHA-256 of the video, of one picture after the other where it is a folder of them.

    Raises ``InputError`` for one that cannot be read or is empty.
    """
    if video is None:
        return None
    digest = hashlib.sha256()
    try:
        for path in _files(video):
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                if not file.tell():
                    raise InputError(f"video {path} is empty: name a video file")
    except OSError as error:
        raise InputError(
            f"video {video} cannot be read ({error.strerror}): "
            "name a video file, a folder of pictures or an .npz"
        ) from error
    return digest.hexdigest()


def _files(video: str) -> Sequence[str | Path]:
    if not os.path.isdir(video):
        return (video,)
    from autogaze.video.frame_source import ImageFolder

    return ImageFolder.open(Path(video)).files
