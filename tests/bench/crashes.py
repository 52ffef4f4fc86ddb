"""Crashes of a run: processes killed at a random moment, and what must be left of the run then.

A driver is forked for each run from one process that has imported everything, so that a kill costs tens of
milliseconds. It says a line for whatever happens in the run; a crash comes some lines after the start, and a
random fraction of a millisecond after that line.
"""

import itertools
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import pyarrow.parquet as pq

from autogaze.child_process import LineReader
from autogaze.errors import InputError
from autogaze.files import PARTIAL
from bench import journal
from bench.records import Record, Status

_SECONDS = 120.0
"""A run of small cells that takes longer is stuck."""

_LINES_BEFORE, _LINES_A_CELL = 2, 9
"""About how much is said before the first cell, and of each."""

_DRIVERS = """
import os, resource, sys
from pathlib import Path
from autogaze.child_process.start import die_with_parent
from bench import runner

def say(*words):  # in one piece, so that a kill leaves a whole line or none
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

class Telling:
    def begin(self, cell, *_): say("begin")
    def phase(self, name): say("phase")
    def end(self, record): say("end", record.cell.key)

for line in sys.stdin:
    folder, largest_file = line.split("\\t")
    drivers, driver = os.getpid(), os.fork()
    if driver == 0:
        die_with_parent(drivers)
        say("driver", os.getpid())
        code = 1
        try:
            if int(largest_file):
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest_file), resource.RLIM_INFINITY))
            runner.proceed(Path(folder), Telling(), retry=True)
            code = 0
        except Exception as error:
            say("error", type(error).__name__, error)
        os._exit(code)
    _, status = os.waitpid(driver, 0)
    say("ended", os.waitstatus_to_exitcode(status))
"""


class Drivers:
    """The process that forks drivers."""

    def __init__(self, repository: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DRIVERS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=repository,
        )
        assert self._process.stdout is not None
        self._lines = LineReader(self._process.stdout.fileno())

    def start(self, folder: Path, largest_file: int = 0) -> int:
        """Have a driver finish the run in ``folder``, no file of which may be larger than so many bytes (0:
        any); return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\t{largest_file}\n".encode())
        self._process.stdin.flush()
        word, number = self.line().split()
        assert word == "driver"
        return int(number)

    def line(self) -> str:
        """Return the next thing that happened."""
        return self._lines.read(time.monotonic() + _SECONDS)

    def pause(self, seconds: float) -> None:
        """Let a moment pass, or less where something happens."""
        assert self._process.stdout is not None
        select.select([self._process.stdout], [], [], seconds)

    def rest(self) -> list[str]:
        """Return what happens until the driver's end, ``ended <exit code>`` last."""
        lines = [self.line()]
        while not lines[-1].startswith("ended"):
            lines.append(self.line())
        return lines

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def open_drivers(repository: Path) -> Iterator[Drivers]:
    drivers = Drivers(repository)
    try:
        yield drivers
    finally:
        drivers.close()


@dataclass
class Toll:
    """What crashes have cost."""

    kills: dict[str, int] = field(default_factory=lambda: {"driver": 0, "worker": 0, "both": 0})
    runs: int = 0
    lost: list[str] = field(default_factory=list)
    """Cells whose end was told and whose record is gone or another."""
    broken: list[str] = field(default_factory=list)
    """Files that are taken for whole and are not."""
    survivors: list[str] = field(default_factory=list)
    """Processes that outlived the driver."""
    unfinished: list[str] = field(default_factory=list)
    """Cells without a record after the run was finished, or with a wrong one."""

    def __str__(self) -> str:
        return (
            f"{sum(self.kills.values())} kills ({self.kills}) in {self.runs} runs: {len(self.lost)} finished "
            f"cells lost, {len(self.broken)} files broken, {len(self.survivors)} processes left, "
            f"{len(self.unfinished)} cells not finished"
        )

    def is_nothing(self) -> bool:
        return not (self.lost or self.broken or self.survivors or self.unfinished)


@dataclass
class Ordeal:
    """One run, crashed again and again and finished at last."""

    folder: Path
    drivers: Drivers
    toll: Toll
    told: dict[str, Record] = field(default_factory=dict)
    """Records of the cells whose end was told."""
    worker_kills: int = 0

    @property
    def cells_left(self) -> int:
        return len(journal.unfinished(*journal.read_run(self.folder)))

    def crash(self, victim: str, after: int, pause: float) -> Self:
        """Kill ``victim`` (``driver``, ``worker`` or ``both``) ``after`` so many lines and a pause, unless
        the run is over by then."""
        driver = self.drivers.start(self.folder)
        heard = []
        while len(heard) < after and not (heard and heard[-1].startswith("ended")):
            heard.append(self.drivers.line())
        others: list[psutil.Process] = []
        if not heard[-1].startswith("ended"):
            self.drivers.pause(pause)
            others = self._kill(driver, victim)
            heard += self.drivers.rest()
        self._hear(heard)
        _, left = psutil.wait_procs(others, timeout=10)
        self.toll.survivors += [f"{process}" for process in left] if victim != "worker" else []
        return self._look()

    def _kill(self, driver: int, victim: str) -> list[psutil.Process]:
        """Kill; return all that the driver had started."""
        started: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):  # It may be over, and no kill then.
            parent = psutil.Process(driver)
            started = parent.children(recursive=True)
            if victim != "driver" and started:
                started[-1].kill()  # the one that measures, or the one that is to start it
                self.worker_kills += 1
            if victim != "worker":
                parent.kill()
            if victim == "driver" or started:
                self.toll.kills[victim] += 1
        return started

    def finish(self) -> Self:
        """Finish the run undisturbed; judge what came of all its cells."""
        self.drivers.start(self.folder)
        heard = self.drivers.rest()
        self._hear(heard)
        if heard[-1] != "ended 0":
            self.toll.unfinished.append(f"{self.folder.name}: {heard[-2:]}")
        self._look()
        run, records = journal.read_run(self.folder)
        self.toll.unfinished += [run.cells[place].key for place in journal.unfinished(run, records, True)]
        # A worker that was killed is told from one that had no memory by nobody.
        bad = [record for record in records if record.status is not Status.OK]
        if len(bad) > self.worker_kills or any(r.status is not Status.OUT_OF_MEMORY for r in bad):
            self.toll.unfinished += [f"{record.cell.key}: {record.reason}" for record in bad]
        self.toll.broken += [str(path) for path in self.folder.rglob(f"*{PARTIAL}")]
        cells = set(pq.read_table(self.folder / "samples.parquet")["cell"].to_pylist())
        self.toll.unfinished += [
            key for key in (r.cell.key for r in records if r.samples) if key not in cells
        ]
        self.toll.runs += 1
        return self

    def _hear(self, lines: list[str]) -> None:
        """Remember the records of cells whose end was told."""
        ended = [line.partition(" ")[2] for line in lines if line.startswith("end ")]
        now = {record.cell.key: record for record in self._records()}
        self.toll.lost += [key for key in ended if key not in now]
        self.told |= {key: now[key] for key in ended if key in now}

    def _look(self) -> Self:
        """Count what was told and is gone, and files that are not what they seem."""
        now = {record.cell.key: record for record in self._records()}
        self.toll.lost += [key for key, record in self.told.items() if now.get(key) != record]
        for path in self.folder.rglob("*"):
            try:
                if path.suffix == ".npz":
                    with np.load(path) as held:
                        assert all(len(held[name]) for name in held.files)
                elif path.suffix == ".parquet":
                    pq.read_table(path)
            except Exception as error:
                self.toll.broken.append(f"{path.name}: {error}")
        return self

    def _records(self) -> list[Record]:
        try:
            return journal.read_run(self.folder)[1]
        except InputError as error:
            self.toll.broken.append(str(error))
            return []


def ordeals(make: Callable[[], Path], drivers: Drivers, seed: int, kills: int) -> Toll:
    """Crash runs, each made by ``make``, until there were so many kills; finish each after a few."""
    coin, toll = random.Random(seed), Toll()
    victims = itertools.cycle(toll.kills)
    while sum(toll.kills.values()) < kills:
        ordeal = Ordeal(make(), drivers, toll)
        for _ in range(coin.randint(3, 5)):
            if not ordeal.cells_left:
                break
            lines = _LINES_BEFORE + _LINES_A_CELL * ordeal.cells_left
            ordeal.crash(next(victims), after=coin.randint(3, lines), pause=coin.uniform(0, 5e-3))
        ordeal.finish()
    return toll
