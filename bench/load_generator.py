"""Load generator: programs that burn processor time and memory bandwidth in bursts, for experiments.

What it does follows from a seed. A burst is at most :data:`LONGEST` seconds, and so is a pause. All of it
ends when it is closed, when the time given to it is over, and with the process that started it, on Linux at
once and elsewhere with the burst.
"""

import hashlib
import os
import random
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from autogaze.child_process import ChildProcess

LONGEST = 1.0
"""Seconds of a burst or a pause."""
_BLOCK = 1 << 16
"""Bytes hashed at a time: they stay in the cache nearest to the core."""
_COPIED = 1 << 26
"""Bytes copied at a time: more than caches hold."""


@dataclass(frozen=True)
class Burst:
    """A while of work, and the pause after it, in seconds."""

    copies: bool
    """Whether it burns memory bandwidth, and not only processor time."""
    seconds: float
    pause: float


def bursts(seed: int) -> Iterator[Burst]:
    """Return bursts without end; they work about two thirds of the time."""
    chance = random.Random(seed)
    while True:
        yield Burst(
            chance.random() < 0.5,
            min(LONGEST, chance.expovariate(1 / 0.4)),
            min(LONGEST, chance.expovariate(1 / 0.2)),
        )


class LoadGenerator:
    """Processes that burn, one for each CPU unless told otherwise, from entering to leaving the block, and
    for no longer than ``most_seconds``."""

    def __init__(self, seed: int, most_seconds: float, processes: int | None = None) -> None:
        self._seeds = [f"{seed}{place}" for place in range(processes or os.cpu_count() or 1)]
        self._most_seconds = most_seconds
        self.children: list[ChildProcess] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for seed in self._seeds:
            child = ChildProcess("bench.load_generator", seed, str(self._most_seconds))
            self._stack.callback(child.close)
            self.children.append(child)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def burn(seed: int, most_seconds: float, commands: int) -> None:
    """Burn until the time is over, or something happens to the file descriptor ``commands``."""
    block, source, target = bytes(_BLOCK), bytes(_COPIED), bytearray(_COPIED)
    end = time.monotonic() + most_seconds
    for burst in bursts(seed):
        until = min(end, time.monotonic() + burst.seconds)
        while time.monotonic() < until:
            if burst.copies:
                target[:] = source
            else:
                hashlib.sha256(block).digest()
        left = end - time.monotonic()
        if left <= 0 or select.select([commands], [], [], min(burst.pause, left))[0]:
            return


def main() -> None:
    commands, _, seed, most_seconds = sys.argv[1:]
    burn(int(seed), float(most_seconds), int(commands))


if __name__ == "__main__":
    main()
