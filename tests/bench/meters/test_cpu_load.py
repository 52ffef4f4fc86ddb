import os
from pathlib import Path

import pytest

from bench.meters import cpu_load
from bench.meters.cpu_load import OTHERS, LoadMeter, others_share
from bench.records import Sample


class Machine:
    """A ``/proc/stat`` that the test writes, and a process that itself uses no time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stat"
        self.set(busy=0, idle=0)

    def set(self, busy: int, idle: int, stolen: int = 0) -> None:
        """Set the hundredths of a second counted so far."""
        self.path.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 {stolen} 7 7\ncpu0 ...\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(cpu_load, "_STAT", made.path)
    return made


def test_busy_time_that_is_not_this_process_is_others(machine: Machine) -> None:
    meter = LoadMeter()
    meter.begin()
    machine.set(busy=200_000, idle=600_000)
    assert meter.share() == pytest.approx(0.25, abs=0.01)


def test_stolen_time_is_others(machine: Machine) -> None:
    meter = LoadMeter()
    meter.begin()
    machine.set(busy=0, idle=500_000, stolen=500_000)
    assert meter.share() == pytest.approx(0.5, abs=0.01)


def test_what_this_process_uses_is_not_others(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    moments = iter([(0.0, 0.0, 0.0), (100.0, 60.0, 60.0)])
    monkeypatch.setattr(cpu_load, "_moment", lambda: next(moments, (0.0, 0.0, 0.0)))
    assert LoadMeter().share() == 0.0


def test_a_moment_too_short_to_tell_says_nothing(machine: Machine) -> None:
    meter = LoadMeter()
    machine.set(busy=1, idle=1)
    assert meter.share() is None


def test_a_system_that_does_not_count_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_load, "_STAT", tmp_path / "nowhere")
    assert LoadMeter().share() is None


def sample(share: float | None, seconds: float, warmup: bool = False) -> Sample:
    telemetry: dict[str, float | str] = {} if share is None else {OTHERS: share}
    return Sample(index=0, stage="end_to_end", seconds=seconds, warmup=warmup, telemetry=telemetry)


def test_longer_repetitions_weigh_more_and_warm_up_does_not_count() -> None:
    samples = [sample(0.0, 3.0), sample(1.0, 1.0), sample(None, 9.0), sample(1.0, 9.0, warmup=True)]
    assert others_share(samples) == 0.25


def test_nothing_known_is_no_load() -> None:
    assert others_share([sample(None, 1.0)]) == 0.0


def test_what_a_peer_uses_is_not_others(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([10.0, 10.0, 1010.0])
    monkeypatch.setattr(cpu_load, "_used_by", lambda process: next(used))
    meter = LoadMeter(peer=7)
    meter.begin()
    machine.set(busy=200_000, idle=600_000)
    assert meter.share() == pytest.approx(0.125, abs=0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells it of a process")
def test_the_time_of_a_process_is_what_it_says_itself() -> None:
    own = os.times()
    assert cpu_load._used_by(os.getpid()) == pytest.approx(own.user + own.system, abs=0.5)


def test_a_process_that_is_gone_uses_nothing() -> None:
    assert cpu_load._used_by(None) == cpu_load._used_by(2**30) == 0.0
