"""How much of a recorded time is the measuring? ``python -m tests.microbench.timing_loop [ROUNDS]``

A call of about five milliseconds, marked with the stages of a clip of sixteen frames, is timed in three ways
that take turns: by the loop of the measuring process (clock of stages, collector at rest, meters of memory,
power, load and instructions), by that loop without meters, and by nothing but a clock before and after.
Medians of ratios over rounds are printed, with intervals that leave out the true one in a case of a hundred.
The bare call is also timed against itself: that is the noise, and what lies inside of it is no difference.

On two cores of an AMD EPYC that other programs kept busy (load 5), 400 rounds, twice: the loop adds 0.6 and
0.7 % to the call; the meters move the median by 0.0 and 0.1 %, the noise being 0.5 %.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # noqa: F401 - the objects that the collector looks at

from autogaze.stages import stage
from bench import worker
from bench.meters.clocks import HostClock
from bench.meters.collector import settled
from bench.meters.instructions import NoCounter, open_counter
from bench.meters.memory import MemoryMeter
from bench.meters.power import NoMeter, open_meter
from bench.turns.verdict import ALPHA, always_valid

CALL_SECONDS = 0.005
FRAMES = 16


class Call:
    """Work of a fixed size inside the stages that the gaze model marks."""

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
        self._products = 1
        while self._seconds() < CALL_SECONDS:
            self._products += 1

    def run(self) -> None:
        with stage("decode"):
            self._multiply()
        with stage("gaze"):
            with stage("gaze.vision"):
                self._multiply()
            for _ in range(FRAMES):
                with stage("gaze.prefill"):
                    self._multiply()
                with stage("gaze.steps"):
                    self._multiply()

    def _multiply(self) -> None:
        for _ in range(self._products):
            self._matrix @ self._matrix

    def _seconds(self) -> float:
        """Return the best of a few: a pause of the machine must not make the call shorter."""
        return min(bare(self) for _ in range(5))


class NoLoad:
    """In place of the meter of other programs' load."""

    def __init__(self, peer: int | None = None) -> None:
        return

    def begin(self) -> None:
        return

    def share(self) -> None:
        return


def bare(call: Call) -> float:
    started = time.perf_counter()
    call.run()
    return time.perf_counter() - started


def loop(call: Call, meters: Any, load: Any, memory: MemoryMeter | None = None) -> Callable[[], float]:
    """Return a function that has the loop measure the call, and returns the seconds it would record."""

    def measured() -> float:
        worker.LoadMeter = load
        if memory:
            memory.begin()
        _, samples, _, _ = worker._repeat(call, meters, 0, warmup=False)
        if memory:
            memory.end()
        return samples[0].seconds

    return measured


def compare(rounds: int) -> None:
    call, load = Call(), worker.LoadMeter
    counter = open_counter()
    all_meters = worker._Meters(HostClock(), open_meter(None), counter)
    no_meters = worker._Meters(HostClock(), NoMeter(), NoCounter())
    ways = {
        "bare": lambda: bare(call),
        "bare again": lambda: bare(call),
        "loop": loop(call, all_meters, load, MemoryMeter("cpu")),
        "loop without meters": loop(call, no_meters, NoLoad),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    spent = 0.0
    for number in range(rounds + 3):
        # Every order of neighbours comes as often as its reverse.
        names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
        for name in names if number % 2 else reversed(names):
            began = time.perf_counter()
            seconds = ways[name]()
            if number >= 3:
                taken[name].append(seconds)
                spent += time.perf_counter() - began - seconds if name == "loop" else 0.0
    counter.close()
    worker.LoadMeter = load
    print(
        f"a call of {np.median(taken['bare']) * 1e3:.2f} ms, {rounds} rounds; meters: "
        f"{all_meters.power.name}, instructions {counter.obstacle or 'counted'}"
    )
    for a, b in (("bare", "bare again"), ("bare", "loop"), ("loop without meters", "loop")):
        ratios = [after / before for before, after in zip(taken[a], taken[b])]
        print(f"  {b} / {a}: {always_valid(ratios, ALPHA)}")
    print(f"  outside of the recorded time, a repetition: {spent / rounds * 1e3:.2f} ms")


def main(rounds: int) -> None:
    with settled():
        compare(rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
