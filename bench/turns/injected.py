"""Injected slowdowns: a workload that does another's work and spins for a share of one stage's time, inside
that stage, so that it is longer by that share in wall-clock time and in processor time.

It may also do the work of fewer calls. It is how the verdicts are tried out; no suite has it.
"""

import hashlib
import importlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from autogaze.errors import InputError
from autogaze.stages import Observer, observed_by, observer
from bench.job import Job
from bench.meters.clocks import DeviceClock, device_clock
from suites.workload import Axis, AxisValue, Inputs, Paired, Quality, Renewing, Workload

_TARGET, _STAGE, _SHARE = "injected.target", "injected.stage", "injected.share"
_CALLS = "injected.calls"
_BLOCK = bytes(1 << 15)
"""Hashing so much at a time lets other threads run meanwhile."""


def slowed(job: Job, stage: str, share: float) -> Job:
    """Return the job with a stage that takes longer by ``share``."""
    return _wrapped(job, {_STAGE: stage, _SHARE: share})


def shortened(job: Job, calls: int) -> Job:
    """Return the job with no more than so many calls of the model in a repetition.

    Only for workloads that begin a call at each of their ``starts``.
    """
    return _wrapped(job, {_CALLS: calls})


def _wrapped(job: Job, more: Mapping[str, AxisValue]) -> Job:
    inner = {_TARGET: job.target} if _TARGET not in job.cell.axes else {}
    cell = job.cell.model_copy(update={"axes": {**job.cell.axes, **inner, **more}})
    return job.model_copy(update={"cell": cell, "target": f"{__name__}:Injected"})


class Injected:
    """The workload that spins."""

    axes: ClassVar[Mapping[str, Axis]] = {}
    preload: ClassVar[tuple[str, ...]] = ()

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        own = {name: axes.get(name) for name in (_TARGET, _STAGE, _SHARE, _CALLS)}
        module, _, name = str(own[_TARGET]).partition(":")
        kind = getattr(importlib.import_module(module), name)
        self._work: Workload = kind({name: axes[name] for name in axes if name not in own}, inputs)
        with_peer = isinstance(self._work, Paired) and self._work.peer is not None
        if with_peer or isinstance(self._work, Renewing):
            raise InputError(f"workload {name} cannot be slowed: take one without a peer that renews nothing")
        if calls := int(own[_CALLS] or 0):
            starts = getattr(self._work, "starts", None)
            if starts is None:
                raise InputError(f"workload {name} cannot be shortened: take one that reads its clips itself")
            starts[calls:] = []
        self._stage, self._share = str(own[_STAGE]), float(own[_SHARE] or 0.0)
        self._clock = device_clock(inputs.device)
        self._helpers = ThreadPoolExecutor(os.cpu_count())
        self.notes, self.details = self._work.notes, self._work.details

    def run(self) -> Any:
        outer = observer()
        if outer is None:
            return self._work.run()
        with observed_by(_Spinning(outer, self._stage, self._share, self._clock, self._helpers)):
            return self._work.run()

    def quality(self, output: Any) -> Quality:
        return self._work.quality(output)


class _Spinning:
    """Observes for another observer, and makes one stage longer."""

    def __init__(
        self, outer: Observer, slow: str, share: float, clock: DeviceClock, helpers: ThreadPoolExecutor
    ) -> None:
        self._outer, self._slow, self._share = outer, slow, share
        self._clock, self._helpers = clock, helpers

    def stage(self, name: str) -> AbstractContextManager[None]:
        return self._longer(name) if name == self._slow else self._outer.stage(name)

    def count(self, name: str, amount: int) -> None:
        self._outer.count(name, amount)

    def took(self, name: str, seconds: float) -> None:
        self._outer.took(name, seconds)

    @contextmanager
    def _longer(self, name: str) -> Iterator[None]:
        with self._outer.stage(name):
            wall, processor = time.perf_counter(), time.process_time()
            yield
            self._clock.synchronise()
            self._spin(time.perf_counter() - wall, time.process_time() - processor)

    def _spin(self, wall: float, processor: float) -> None:
        """Use the share of both: what the stage did with more than one thread is spun in others."""
        beside = max(0.0, processor - wall)
        threads = math.ceil(beside / wall)
        helping = [self._helpers.submit(_use, self._share * beside / threads) for _ in range(threads)]
        end = time.perf_counter() + self._share * wall
        while time.perf_counter() < end:
            hashlib.sha256(_BLOCK).digest()
        for each in helping:
            each.result()


def _use(seconds: float) -> None:
    """Use so much processor time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_BLOCK).digest()
