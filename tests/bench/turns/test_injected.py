import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from autogaze.errors import InputError
from autogaze.stages import count, observed_by, stage
from bench.job import Job
from bench.records import Cell
from bench.turns import injected
from bench.turns.injected import Injected, shortened, slowed
from suites.workload import Inputs, Quality

SMALL = f"{__name__}:Small"


class Small:
    axes: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, axes: Mapping[str, Any], inputs: Inputs) -> None:
        self.notes, self.details = ["a note"], {"axes": dict(axes)}

    def run(self) -> str:
        with stage("decode"):
            pass
        with stage("gaze"):
            count("decode_steps", 3)
        return "patches"

    def quality(self, output: str) -> Quality:
        return Quality(patch_hash=output)


class Calling(Small):
    def __init__(self, axes: Mapping[str, Any], inputs: Inputs) -> None:
        super().__init__(axes, inputs)
        self.starts = [0, 4, 8, 12]

    def run(self) -> str:
        return str(self.starts)


class Renewed(Small):
    def renew(self) -> None:
        return


def job(target: str = SMALL) -> Job:
    cell = Cell(workload="gaze", axes={"chunk": 4})
    return Job(cell=cell, target=target, inputs={}, min_samples=1, time_budget_seconds=0.0, in_turns=True)


class Heard:
    """Writes down what it hears, and at what time of a clock that moves when it is read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lengths: dict[str, float] = {}
        self.counted: dict[str, int] = {}

    def read(self) -> float:
        self.now += 1.0
        return self.now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        entered = self.now
        yield
        self.lengths[name] = self.now - entered

    def count(self, name: str, amount: int) -> None:
        self.counted[name] = amount

    def took(self, name: str, seconds: float) -> None:
        raise AssertionError(name)


@pytest.mark.parametrize(("share", "spun"), [(0.0, 0), (2.0, 2), (20.0, 20)])
def test_a_stage_is_longer_by_the_share_within_itself(
    monkeypatch: pytest.MonkeyPatch, share: float, spun: int
) -> None:
    heard = Heard()
    clock = SimpleNamespace(
        perf_counter=heard.read, process_time=lambda: heard.now, thread_time=time.thread_time
    )
    monkeypatch.setattr(injected, "time", clock)
    slow = slowed(job(), "gaze", share)
    work = Injected(slow.cell.axes, Inputs())
    with observed_by(heard):
        assert work.run() == "patches"
    # Two readings are around the work, one begins the spin, and one a unit of time ends it.
    assert heard.lengths["gaze"] == 3 + max(1, spun)
    assert heard.lengths["decode"] == 0
    assert heard.counted == {"decode_steps": 3}


def test_all_else_is_the_workloads_own() -> None:
    slow = slowed(job(), "gaze", 0.05)
    assert slow.target == "bench.turns.injected:Injected"
    work = Injected(slow.cell.axes, Inputs())
    assert work.details == {"axes": {"chunk": 4}}
    assert work.notes == ["a note"]
    assert work.run() == "patches"
    assert work.quality("patches").patch_hash == "patches"


def test_a_repetition_can_be_cut_to_fewer_calls_and_slowed_as_well() -> None:
    short = shortened(job(f"{__name__}:Calling"), 2)
    assert Injected(short.cell.axes, Inputs()).run() == "[0, 4]"
    assert Injected(slowed(short, "gaze", 0.05).cell.axes, Inputs()).run() == "[0, 4]"
    with pytest.raises(InputError, match="workload Small cannot be shortened"):
        Injected(shortened(job(), 2).cell.axes, Inputs())


def test_what_cannot_be_slowed_is_refused() -> None:
    slow = slowed(job(f"{__name__}:Renewed"), "gaze", 0.05)
    with pytest.raises(InputError, match="workload Renewed cannot be slowed"):
        Injected(slow.cell.axes, Inputs())


def test_processor_time_is_used_up_in_another_thread() -> None:
    before = time.thread_time()
    injected._use(0.002)
    assert time.thread_time() - before >= 0.002
