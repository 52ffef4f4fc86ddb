"""Variants of a decode step, captured and timed: what can be set without touching a kernel.

Nothing is timed that has not been held against the reference in the same process.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from bench.first_contact.decode import DTYPES, Call, check, forms, refuse
from bench.first_contact.item import Item, Settings
from bench.first_contact.timings import time_step
from kernels.decode_step import triton

TUNED: Mapping[str, tuple[int, ...]] = {
    "splits": (4, 8, 16, 32),
    "keys": (32, 64, 128),
    "wide": (16, 32, 64),
    "warps": (4, 8),
}
"""Fields of :class:`kernels.decode_step.triton_launch.Tiles`, and values to try."""
_CALLS, _ROUNDS = 16, 20


def items(settings: Settings) -> list[Item]:
    """Return every form at several sizes, then each with other splits and blocks."""
    sizes = ((1, 70),) if settings.small else ((1, 400), (1, 3200), (1, 6400), (8, 3200), (64, 3200))
    return [*_forms(settings, sizes), *_tuned(settings, sizes)]


def _forms(settings: Settings, sizes: tuple[tuple[int, int], ...]) -> Iterator[Item]:
    for batch, cached in sizes:
        for dtype in DTYPES:
            for form, call in forms(settings.device).items():
                name = f"{form} {dtype} batch={batch} cached={cached}"
                yield Item(name, partial(_timed, settings, form, call, dtype, batch, cached, {}))


def _tuned(settings: Settings, sizes: tuple[tuple[int, int], ...]) -> Iterator[Item]:
    batch, cached = sizes[min(1, len(sizes) - 1)]
    for dtype in DTYPES:
        for form, call in forms(settings.device).items():
            if not form.startswith("triton"):
                continue
            for setting, values in TUNED.items():
                for value in values:
                    ask = partial(_timed, settings, form, call, dtype, batch, cached, {setting: value})
                    yield Item(f"{form} {dtype} batch={batch} cached={cached} {setting}={value}", ask)


def _timed(
    settings: Settings,
    form: str,
    call: Call,
    dtype: str,
    batch: int,
    cached: int,
    chosen: Mapping[str, int],
) -> dict[str, Any]:
    refuse(form, dtype)
    calls, rounds = (2, 2) if settings.small else (_CALLS, _ROUNDS)
    with launched_with(chosen):
        found = check(call, settings.device, dtype, batch, cached)
        if not found["right"]:
            return found
        return found | time_step(call, settings.device, dtype, batch, cached, calls, rounds)


@contextmanager
def launched_with(chosen: Mapping[str, int]) -> Iterator[None]:
    """Have enclosed calls of the Triton form launch with other values of what is :data:`TUNED`."""
    usual = triton.tiles_of
    with patch.object(triton, "tiles_of", lambda *given: replace(usual(*given), **dict[str, Any](chosen))):
        yield
