"""Isolation: one cell measured in a process of its own, and whatever becomes of that process a record.

The process is a fork of a server that has imported everything (:mod:`bench.fork_server`), or a new
interpreter where there is no server.
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import IO, Protocol

from bench.fork_server import ForkServer, ForkServerError
from bench.job import Event, Job
from bench.journal import utc_now
from bench.records import Record, Sample, Status

_TAIL_LINES = 30
_CHUNK = 1 << 16


class Child(Protocol):
    """A process that measures a cell, and leads a process group."""

    def wait(self, seconds: float) -> int:
        """Return the exit code, negative for a signal; raises ``TimeoutError`` after ``seconds``."""

    def kill(self) -> None:
        """End the process and all it started; not an error where nothing is left of them."""


def run_job(
    job: Job, timeout_seconds: float, on_phase: Callable[[str], None], server: ForkServer | None = None
) -> Record:
    """Measure ``job`` in a child process and return its record; ``on_phase`` hears what the child is doing.

    The child is killed, with all it started, when time is up and when this function is left early
    (``KeyboardInterrupt``). A child that dies without a record leaves one that says how, with the samples it
    had sent.
    """
    started, begun = utc_now(), time.monotonic()
    with tempfile.TemporaryFile() as output:
        record, samples, exit_code = _converse(job, output, begun + timeout_seconds, on_phase, server)
        if record is None:
            status, reason = _fate(exit_code, timeout_seconds)
            tail = _tail(output)
            if tail and exit_code is not None and exit_code > 0:
                reason = f"{reason}: {tail.splitlines()[-1]}"
            record = Record(
                cell=job.cell, status=status, reason=reason, samples=tuple(samples), details={"stderr": tail}
            )
    return record.model_copy(update={"started": started, "elapsed_seconds": time.monotonic() - begun})


def _converse(
    job: Job,
    output: IO[bytes],
    deadline: float,
    on_phase: Callable[[str], None],
    server: ForkServer | None,
) -> tuple[Record | None, list[Sample], int | None]:
    """Start the child and listen to its end; return record, samples and exit code (None: time was up)."""
    record: Record | None = None
    samples: list[Sample] = []
    on_phase("start")
    with ExitStack() as stack:
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        try:
            child = _start(job, writing, output, server)
        finally:
            os.close(writing)
        stack.callback(child.kill)
        try:
            for line in _lines(reading, deadline):
                event = Event.model_validate_json(line)
                samples += event.samples
                record = event.record or record
                if event.kind == "phase":
                    on_phase(event.phase)
            return record, samples, child.wait(deadline - time.monotonic())
        except TimeoutError:
            return record, samples, None


def _start(job: Job, events: int, output: IO[bytes], server: ForkServer | None) -> Child:
    with tempfile.TemporaryFile() as file:
        file.write(job.model_dump_json().encode())
        file.seek(0)
        if server is not None:
            with suppress(ForkServerError):
                return server.start(file.fileno(), events, output.fileno())
        return _Interpreter(file.fileno(), events, output.fileno())


class _Interpreter:
    """A child that is a new interpreter."""

    def __init__(self, job: int, events: int, output: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "bench.worker", str(events)],
            stdin=job,
            stdout=output,
            stderr=output,
            pass_fds=[events],
            start_new_session=True,
        )

    def wait(self, seconds: float) -> int:
        try:
            return self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _lines(pipe: int, deadline: float) -> Iterator[bytes]:
    """Give the complete lines arriving on ``pipe`` until it closes; ``TimeoutError`` at the deadline."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            chunk = os.read(pipe, _CHUNK)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _fate(exit_code: int | None, timeout_seconds: float) -> tuple[Status, str]:
    if exit_code is None:
        return Status.TIMEOUT, f"not done after {timeout_seconds:g} s"
    if exit_code == -signal.SIGKILL:
        return Status.OUT_OF_MEMORY, "killed by the system, probably for want of memory"
    if exit_code < 0:
        return Status.FAILED, f"died of {signal.Signals(-exit_code).name}"
    return Status.FAILED, f"ended with exit code {exit_code} and no result"


def _tail(output: IO[bytes]) -> str:
    """Return the last lines of what the child printed."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - _CHUNK))
    return "\n".join(output.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])
