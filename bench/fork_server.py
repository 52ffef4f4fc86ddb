"""Fork server: one process imports what the cells of a run need, and a fork of it measures each of them.

A new interpreter spends seconds on importing torch and the models before a cell begins; a fork begins within
milliseconds, and what a cell does to its process still touches no other. The server itself computes nothing:
CUDA is not touched and no thread is started in it, but for those of OpenBLAS, which numpy and scipy start
when they are imported, and which OpenBLAS stops before a fork and starts again behind it. Where that does not
hold, or where the system cannot do it, there is a :class:`ForkServerError`, and cells are measured in new
interpreters.

Server and client talk over a pair of sockets that keep messages apart. A request is ``fork``, with three
file descriptors: the pipes of jobs and of answers, and the file for what is printed. The answers are the
process and, when it has ended, its exit code; ``kill`` ends it and all it started.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, Self

from autogaze.child_process import LineReader, PrintedLines
from autogaze.child_process.start import die_with_parent
from bench.worker import serve

_COMMAND = (sys.executable, "-X", "faulthandler", "-m", "bench.fork_server")
_MESSAGE_BYTES = 4096
_START_SECONDS = 300.0
"""A server that takes longer to import is stuck."""
_FAREWELL_SECONDS = 10.0
_BLAS_OWNERS = ("numpy", "scipy.linalg")
"""Packages whose import starts threads of OpenBLAS, which survive a fork."""


class ForkServerError(RuntimeError):
    """There can be no fork server here, or there is none any more; the message says why."""


class ForkedChild:
    """A process that the server forked; to be used as an :class:`autogaze.child_process.ChildProcess` is."""

    def __init__(
        self, server: "ForkServer", pid: int, commands: int, answers: int, printed: PrintedLines
    ) -> None:
        self._server, self.pid, self.printed = server, pid, printed
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = answers
        self._lines = LineReader(answers)
        self._exit_code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, line: str) -> None:
        """Send a line; that the process is gone shows in the answer that does not come."""
        with suppress(BrokenPipeError):
            self._commands.write(line.encode() + b"\n")

    def receive(self, deadline: float) -> str:
        """Return the next line of its answers.

        Raises ``TimeoutError`` at ``deadline``, a time of ``time.monotonic()``, and ``EOFError`` where there
        will be no more.
        """
        return self._lines.read(deadline)

    def exit_code(self, deadline: float) -> int:
        """Wait for its end and return its exit code, negative for a signal; raises ``TimeoutError`` at
        ``deadline``."""
        if self._exit_code is None:
            answer = self._server.answer(deadline - time.monotonic())
            # A server that is gone took the child with it.
            self._exit_code = -signal.SIGKILL if answer is None else int(answer["exit_code"])
        return self._exit_code

    def finish(self, deadline: float) -> None:
        """Let it find its commands at an end and finish by itself until ``deadline``."""
        self._commands.close()
        with suppress(TimeoutError):
            self.exit_code(deadline)

    def close(self) -> None:
        """Kill it and all it started; not an error where nothing is left of them."""
        if self._exit_code is None:
            self._server.say(b"kill")
            with suppress(TimeoutError):
                self.exit_code(time.monotonic() + _FAREWELL_SECONDS)
        self._commands.close()
        os.close(self._answers)
        self.printed.close()


class ForkServer:
    """The client's end of a server."""

    def __init__(self, targets: Sequence[str]) -> None:
        """Start a server that imports the workloads ``targets``, each ``module:class``, and modules given
        by their names alone.

        Raises ``ForkServerError`` where the system cannot do what it takes.
        """
        if not (sys.platform == "linux" and hasattr(os, "pidfd_open")):
            raise ForkServerError(f"processes cannot be forked safely on {sys.platform}")
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [*_COMMAND, str(os.getpid()), str(theirs.fileno()), *targets],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()

    @cached_property
    def obstacle(self) -> str | None:
        """Why it cannot fork safely, None where it can; known when everything is imported, which this waits
        for."""
        try:
            answer = self.answer(_START_SECONDS)
        except TimeoutError:
            return f"the fork server did not start within {_START_SECONDS:g} s"
        return "the fork server ended before it was ready" if answer is None else answer["obstacle"]

    def start(self) -> ForkedChild:
        """Fork a process that measures the jobs it is sent (:func:`bench.worker.serve`).

        Raises ``ForkServerError`` where that is not safe, and where the server is gone.
        """
        if self.obstacle is not None:
            raise ForkServerError(self.obstacle)
        printed = PrintedLines()
        (their_commands, commands), (answers, their_answers) = os.pipe(), os.pipe()
        self.say(b"fork", [their_commands, their_answers, printed.fileno()])
        os.close(their_commands)
        os.close(their_answers)
        try:
            answer = self.answer(_FAREWELL_SECONDS)
        except TimeoutError:
            answer = None
        if answer is None:
            os.close(commands)
            os.close(answers)
            printed.close()
            raise ForkServerError("the fork server is gone")
        return ForkedChild(self, int(answer["pid"]), commands, answers, printed)

    def say(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a request; a server that is gone is noticed when it does not answer."""
        with suppress(OSError):
            socket.send_fds(self._socket, [message], descriptors)

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the next answer, None where the server is gone; raise ``TimeoutError`` after ``seconds``."""
        self._socket.settimeout(max(seconds, 1e-3))
        try:
            message = self._socket.recv(_MESSAGE_BYTES)
        except ConnectionError:
            return None
        return json.loads(message) if message else None

    def close(self) -> None:
        self._socket.close()
        try:
            self._process.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def open_fork_server(targets: Sequence[str]) -> Iterator[ForkServer]:
    """Open a server for ``targets``, as :class:`ForkServer` takes them; it ends with the block.

    It imports while the caller goes on. Raises ``ForkServerError`` where there can be none.
    """
    server = ForkServer(targets)
    try:
        yield server
    finally:
        server.close()


def _serve(channel: socket.socket) -> tuple[int, int] | None:
    """Fork on request until the client is gone.

    Returns None then, and in each forked process the descriptors of its jobs and of its answers.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            selector.select()
            message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 3)
            if not message:
                return None
            if message != b"fork":  # the child that was to be killed had just ended
                continue
            jobs, answers, _ = descriptors
            server, pid = os.getpid(), os.fork()
            if pid == 0:
                _become_worker(server, descriptors)
                return jobs, answers
            with suppress(OSError):  # in both, so that it holds before either goes on
                os.setpgid(pid, pid)
            for descriptor in descriptors:
                os.close(descriptor)
            channel.send(json.dumps({"pid": pid}).encode())
            if not _watch(channel, pid):
                return None


def _become_worker(server: int, descriptors: Sequence[int]) -> None:
    """Leave the server behind: a process group of its own, and what it prints goes into the file."""
    os.setpgid(0, 0)
    die_with_parent(server)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    *pipes, output = descriptors
    for pipe in pipes:  # what the workload starts must not keep them open
        os.set_inheritable(pipe, False)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _watch(channel: socket.socket, pid: int) -> bool:
    """Wait for the end of a child and tell its exit code; return whether the client is still there."""
    descriptor = os.pidfd_open(pid)
    is_there = True
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(channel, selectors.EVENT_READ)
            selector.register(descriptor, selectors.EVENT_READ, "ended")
            while not any(key.data == "ended" for key, _ in selector.select()):
                is_there = bool(channel.recv(_MESSAGE_BYTES))
                break
    finally:
        os.close(descriptor)
    # Not waited for yet, so that the group's number is still its own.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if is_there:
        channel.send(json.dumps({"exit_code": os.waitstatus_to_exitcode(status)}).encode())
    return is_there


def _import_all(targets: Sequence[str]) -> str | None:
    """Import what workloads need; say what makes a fork unsafe, None where nothing does.

    What cannot be imported is left to the cell, which says so in its record.
    """
    for package in _BLAS_OWNERS:
        with suppress(Exception):
            importlib.import_module(package)
    allowed = _threads()
    for target in targets:
        module, _, name = target.partition(":")
        with suppress(Exception):
            imported = importlib.import_module(module)
            for each in getattr(getattr(imported, name), "preload", ()) if name else ():
                importlib.import_module(each)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "importing the workloads touched CUDA, which does not survive a fork"
    if (threads := _threads()) > allowed:
        return f"importing the workloads started {threads - allowed} threads, which do not survive a fork"
    return None


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    parent, descriptor, *targets = sys.argv[1:]
    die_with_parent(int(parent))
    channel = socket.socket(fileno=int(descriptor))
    started = time.perf_counter()
    obstacle = _import_all(targets)
    gc.collect()
    gc.freeze()  # what all cells share is not looked at by their collectors, and stays shared
    seconds = time.perf_counter() - started
    channel.send(json.dumps({"obstacle": obstacle, "seconds": seconds}).encode())
    work = _serve(channel)
    channel.close()
    if work is not None:
        serve(*work)


if __name__ == "__main__":
    main()
