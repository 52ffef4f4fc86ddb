"""Garbage collector, at rest while the clock runs.

Each repetition begins with a collection, so that none falls into it and garbage of one is not work of the
next. A collection looks at every object there is: hundreds of thousands once torch is imported, a fifth of a
second, after which the caches hold objects and nothing of the workload (1 to 2 % of a call of 5 ms). So what
has been loaded is kept out of its sight as long as a cell is measured.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled() -> Iterator[None]:
    """Have the collections of the block look at what is made in the block alone."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def at_rest() -> Iterator[None]:
    """Collect now, and not in the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
