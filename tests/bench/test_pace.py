"""A cell stops when its median has converged, else when its budget or its time is used."""

from collections.abc import Iterator
from itertools import chain, cycle, repeat
from typing import Any

import pytest

from bench import pace
from bench.costs import MOST_SAMPLES
from bench.job import Job
from bench.pace import CONVERGED, Taken, repetitions
from bench.records import WHOLE, Cell
from tests.bench.test_worker import measured


class Clock:
    """A clock that the repetitions of a test move on."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def take(clock: Clock, seconds: Iterator[float], **more: Any) -> Taken:
    """Return what is taken of a cell whose repetitions take so long."""
    fields = {"min_samples": 5, "time_budget_seconds": 100.0, "timeout_seconds": 1000.0} | more
    cell = Job(cell=Cell(workload="fake", axes={}), target="", inputs={}, **fields)
    taken = Taken()
    for _ in repetitions(cell, clock.now, taken):
        each = next(seconds)
        clock.now += each
        taken.add(WHOLE, each)
    return taken


def test_steady_samples_end_a_cell_once_a_tenth_of_the_budget_is_used(clock: Clock) -> None:
    taken = take(clock, cycle([1.0, 1.001]))
    assert taken.ended == pace.MEDIAN
    assert 10 <= taken.spent < 12
    assert taken.half_width is not None
    assert taken.half_width < CONVERGED


def test_noisy_samples_go_on_until_the_budget_is_used(clock: Clock) -> None:
    taken = take(clock, cycle([1.0, 1.7, 1.3, 1.9, 1.1, 1.6, 1.4, 1.8, 1.2, 1.5]))
    assert taken.ended == pace.BUDGET
    assert 100 <= taken.spent < 102
    assert taken.details()[pace.HALF_WIDTH] > CONVERGED


def test_five_samples_prove_nothing_however_alike(clock: Clock) -> None:
    assert len(take(clock, repeat(10.0)).seconds[WHOLE]) == 6
    taken = take(clock, repeat(20.0))
    assert (len(taken.seconds[WHOLE]), taken.ended, taken.half_width) == (5, pace.BUDGET, None)


def test_a_cell_has_its_least_number_of_samples_whatever_they_say(clock: Clock) -> None:
    assert len(take(clock, repeat(10.0), min_samples=9).seconds[WHOLE]) == 9
    assert len(take(clock, repeat(10.0), min_samples=3, time_budget_seconds=0.0).seconds[WHOLE]) == 3


def test_samples_that_settle_late_end_a_cell_late(clock: Clock) -> None:
    taken = take(clock, chain([3.0, 2.5, 2.0, 1.5], repeat(1.0)))
    assert taken.ended == pace.MEDIAN
    assert len(taken.seconds[WHOLE]) > 12


def test_a_slow_cell_ends_before_its_timeout(clock: Clock) -> None:
    taken = take(clock, repeat(30.0), timeout_seconds=100.0)
    assert (taken.ended, len(taken.seconds[WHOLE])) == (pace.TIMEOUT, 2)


def test_there_is_a_most_of_samples(clock: Clock) -> None:
    taken = take(clock, cycle([1e-3, 2e-3]), time_budget_seconds=1e6)
    assert (taken.ended, len(taken.seconds[WHOLE])) == (pace.MOST, MOST_SAMPLES)


def test_of_work_in_turns_both_medians_must_have_converged() -> None:
    taken = Taken()
    for ours in (1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0):
        taken.add(WHOLE, 5.0)
        taken.add("ours", ours)
    assert taken.half_width == pytest.approx(0.5)


def test_the_record_says_what_ended_the_cell() -> None:
    assert measured().details[pace.ENDED] == pace.BUDGET
    assert measured(time_budget_seconds=100.0, timeout_seconds=0.0).details[pace.ENDED] == pace.TIMEOUT
    assert pace.ENDED not in measured("raise").details
    assert measured(min_samples=6).details[pace.HALF_WIDTH] >= 0
