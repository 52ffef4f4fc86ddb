"""Isolation: cells measured in processes of their own, and whatever becomes of such a process a record.

A process is a fork of a server that has imported everything (:mod:`bench.fork_server`), or a new interpreter
where there is no server.
"""

import signal
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

from autogaze.child_process import ChildProcess, fate
from bench.fork_server import ForkedChild, ForkServer, ForkServerError
from bench.job import Event, Job
from bench.journal import utc_now
from bench.records import WHOLE, Record, Sample, Status
from bench.survey import Answer, Question

_FAREWELL_SECONDS = 30.0
"""How long a child that is done may take to end."""
PRINTED_FILE = "printed.log"
"""What the processes of a run's cells printed, other libraries in them included."""
_SURVEY_SECONDS = 300.0
"""A survey that takes longer is stuck."""


Child = ChildProcess | ForkedChild


def run_job(
    job: Job, timeout_seconds: float, on_phase: Callable[[str], None], server: ForkServer | None = None
) -> Record:
    """Measure ``job`` in a child process and return its record; ``on_phase`` hears what the child is doing.

    The child leads a process group of its own, which is killed when time is up and when this function is left
    early (``KeyboardInterrupt``). A child that dies without a record leaves one that says how, with the
    samples it had sent.
    """
    (record,) = run_jobs([job], timeout_seconds, on_phase, server)
    return record


def run_jobs(
    jobs: Sequence[Job],
    timeout_seconds: float,
    on_phase: Callable[[str], None],
    server: ForkServer | None = None,
) -> Generator[Record]:
    """Measure jobs one after another in one child process and yield the record of each as it is done.

    Each has ``timeout_seconds``. A child that dies or runs out of time is replaced by a new one for the jobs
    that are left. Close the iterator to kill the child before its end.
    """
    left = list(jobs)
    while left:
        on_phase("start")
        with _child(server) as child:
            is_there = True
            while left and is_there:
                record, is_there = _measured(child, left.pop(0), timeout_seconds, on_phase)
                yield record
            if is_there:  # It cleans up after itself.
                child.finish(time.monotonic() + _FAREWELL_SECONDS)


def ask(question: Question, server: ForkServer | None = None) -> Answer | None:
    """Have a process of its own look ahead at cells; None where that fails: then nothing is foreseen."""
    with _child(server) as child:
        child.send(question.model_dump_json())
        try:
            event = Event.model_validate_json(child.receive(time.monotonic() + _SURVEY_SECONDS))
        except (TimeoutError, EOFError):
            return None
        child.finish(time.monotonic() + _FAREWELL_SECONDS)
    return event.answer


def _child(server: ForkServer | None) -> Child:
    if server is not None:
        with suppress(ForkServerError):
            return server.start()
    return ChildProcess("bench.worker", options=("-X", "faulthandler"), leads_group=True)


def _measured(
    child: Child, job: Job, timeout_seconds: float, on_phase: Callable[[str], None]
) -> tuple[Record, bool]:
    """Have the child measure a job; return its record, and whether the child can measure another."""
    started, begun = utc_now(), time.monotonic()
    deadline = begun + timeout_seconds
    samples: list[Sample] = []
    is_there = True
    child.printed.forget()
    try:
        record = _listen(child, job, deadline, samples, on_phase)
    except (TimeoutError, EOFError) as end:
        is_there = False
        status, reason = _blame(child, end, deadline) or (
            Status.TIMEOUT,
            f"not done after {timeout_seconds:g} s{_where(samples)}",
        )
        record = Record(
            cell=job.cell,
            status=status,
            reason=reason,
            samples=tuple(samples),
            details={"stderr": child.printed.tail()},
        )
    _keep_printed(job, child.printed.all())
    times = {"started": started, "elapsed_seconds": time.monotonic() - begun}
    return record.model_copy(update=times), is_there


def _where(samples: Sequence[Sample]) -> str:
    """Say where a child was when its time was up."""
    if not any(sample.stage == "setup" for sample in samples):
        return ", in its set-up"
    taken = sum(sample.stage == WHOLE and not sample.warmup for sample in samples)
    return f", after {taken} sample{'s' * (taken != 1)}"


def _keep_printed(job: Job, printed: str) -> None:
    """Write what a cell's process printed into the run's folder, under the cell's name."""
    if job.folder is not None and printed.strip():
        # Where it finds no room the record still counts; if that finds none either, the journal says so.
        with suppress(OSError), Path(job.folder, PRINTED_FILE).open("a", encoding="utf-8") as file:
            file.write(f"== {job.cell.key}\n{printed.rstrip()}\n")


def _listen(
    child: Child, job: Job, deadline: float, samples: list[Sample], on_phase: Callable[[str], None]
) -> Record:
    """Give the child its job and return the record that it sends; ``samples`` gets those sent before."""
    child.send(job.line())
    while True:
        event = Event.model_validate_json(child.receive(deadline))
        samples += event.samples
        if event.kind == "phase":
            on_phase(event.phase)
        if event.record is not None:
            return event.record


def _blame(child: Child, end: Exception, deadline: float) -> tuple[Status, str] | None:
    """Say what became of a child that sent no record; None where its time was up."""
    try:
        exit_code = None if isinstance(end, TimeoutError) else child.exit_code(deadline)
    except TimeoutError:  # It has closed its pipe and lives on.
        exit_code = None
    if exit_code is None:
        return None
    if exit_code == -signal.SIGKILL:
        return Status.OUT_OF_MEMORY, "killed by the system, probably for want of memory"
    if exit_code < 0:
        return Status.FAILED, fate(exit_code)
    tail = child.printed.tail() if exit_code > 0 else ""
    last_words = f": {tail.splitlines()[-1]}" if tail else ""
    return Status.FAILED, f"{fate(exit_code)} and no result{last_words}"
