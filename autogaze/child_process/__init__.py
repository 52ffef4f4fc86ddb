"""Child processes that are sent lines, answer in lines, and do not outlive their parent.

This is the parent's end; :mod:`autogaze.child_process.start` is the child's.
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

_START = Path(__file__).with_name("start.py")
_CHUNK = 1 << 16
_TAIL_LINES = 30


class LineReader:
    """The reading end of a pipe that lines come through."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = b""

    def read(self, deadline: float) -> str:
        """Return the next line.

        Raises ``TimeoutError`` at ``deadline``, a time of ``time.monotonic()``, and ``EOFError`` where there
        will be no more.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(self._descriptor, _CHUNK)
                if not chunk:
                    raise EOFError
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()


class PrintedLines:
    """A file that a process prints into, and the last lines of it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._forgotten = 0

    def fileno(self) -> int:
        return self._file.fileno()

    def forget(self) -> None:
        """Leave out of :meth:`tail` what was printed so far."""
        self._forgotten = os.fstat(self.fileno()).st_size

    def tail(self) -> str:
        """Return the last lines."""
        return "\n".join(self.all().strip().splitlines()[-_TAIL_LINES:])

    def all(self) -> str:
        """Return what was printed, of much the end."""
        # Read without moving: the process writes where this file's position is.
        end = os.fstat(self.fileno()).st_size
        begin = max(self._forgotten, end - _CHUNK)
        return os.pread(self.fileno(), end - begin, begin).decode(errors="replace")

    def close(self) -> None:
        self._file.close()


class ChildProcess:
    """A program in a process of its own.

    ``program`` is a module, or the path of a ``.py`` file, whose ``__main__`` finds in ``sys.argv``, before
    ``arguments``, two file descriptors: that of the lines it is sent and that for its answers. What it prints
    is no answer, and is ``printed``. ``python`` is the interpreter, started with ``options``. A child that
    ``leads_group`` takes with it what it has started.

    It ends with :meth:`close`, with this object, and with the process that started it (there only Linux ends
    it amid its work; elsewhere it finds its commands at an end). Raises ``OSError`` where the interpreter
    cannot be started.
    """

    def __init__(
        self,
        program: str,
        *arguments: str,
        python: str = sys.executable,
        options: Sequence[str] = (),
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        leads_group: bool = False,
    ) -> None:
        self.printed = PrintedLines()
        self._process = subprocess.Popen(
            [python, *options, str(_START), str(os.getpid()), program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed.fileno(),
            cwd=folder,
            env=environment,
            start_new_session=leads_group,
        )
        self._end = weakref.finalize(self, _ended, self._process, leads_group)
        assert self._process.stdout is not None
        self._answers = LineReader(self._process.stdout.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, line: str) -> None:
        """Send a line; that a child is gone shows in the answer that does not come."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, deadline: float) -> str:
        """Return the next line of its answers; raises as :meth:`LineReader.read` does."""
        return self._answers.read(deadline)

    def exit_code(self, deadline: float) -> int:
        """Wait for its end and return its exit code, negative for a signal; raises ``TimeoutError`` at
        ``deadline``."""
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def finish(self, deadline: float) -> None:
        """Let it find its commands at an end and finish by itself until ``deadline``."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        with suppress(TimeoutError):
            self.exit_code(deadline)

    def close(self) -> None:
        """Kill it, and what it has started if it leads a group."""
        self._end()
        self.printed.close()


def fate(exit_code: int) -> str:
    """Say how a process ended: ``died of SIGSEGV``, ``ended with exit code 3``."""
    if exit_code < 0:
        return f"died of {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def _ended(process: subprocess.Popen[bytes], is_group: bool) -> None:
    if is_group:
        with suppress(ProcessLookupError):  # Nothing is left of it.
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # What was still to be written has no reader any more.
            if pipe is not None:
                pipe.close()
