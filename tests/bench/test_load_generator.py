import itertools
import os

import pytest

from bench import load_generator
from bench.load_generator import LONGEST, Burst, LoadGenerator, burn, bursts


def test_bursts_follow_from_the_seed_and_are_bounded() -> None:
    first, again, other = (list(itertools.islice(bursts(seed), 200)) for seed in (1, 1, 2))
    assert first == again != other
    assert all(0 <= burst.seconds <= LONGEST and 0 <= burst.pause <= LONGEST for burst in first)
    assert {burst.copies for burst in first} == {True, False}
    busy = sum(burst.seconds for burst in first)
    assert 0.5 < busy / (busy + sum(burst.pause for burst in first)) < 0.8


def test_burning_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_generator, "_COPIED", 1 << 10)
    reading, writing = os.pipe()
    burn(0, 0.0, reading)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("copies", [False, True])
def test_burning_ends_when_whoever_commands_it_is_gone(monkeypatch: pytest.MonkeyPatch, copies: bool) -> None:
    monkeypatch.setattr(load_generator, "_COPIED", 1 << 10)
    monkeypatch.setattr(load_generator, "bursts", lambda seed: itertools.repeat(Burst(copies, 1e-6, 60.0)))
    reading, writing = os.pipe()
    os.close(writing)
    burn(0, 3600.0, reading)
    os.close(reading)


def test_nothing_of_it_is_left_behind() -> None:
    with LoadGenerator(seed=0, most_seconds=60.0, processes=2) as generator:
        pids = [child.pid for child in generator.children]
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
