"""First contact: versions, steps against their reference, capture, patches, times, and traces of replays."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from autogaze.models.autogaze.engines import ENGINES
from bench.first_contact import patches, timings
from bench.first_contact.decode import DTYPES, OPERATION, Call, Steps, check, forms, inputs, refuse
from bench.first_contact.item import Item, NotHere, Settings
from bench.first_contact.versions import versions
from kernels.fitting import Fitting

_BATCHES, _CACHED = (1, 2, 8, 64), (70, 400, 6400)
_RATIOS = (0.10, 0.75, 1.00)
_CALLS = 16
"""Steps in one launch."""


def items(settings: Settings) -> list[Item]:
    """Return all items, what is waited for most first."""
    return [
        Item("versions", partial(versions, settings)),
        *_steps(settings),
        *_captures(settings),
        *_patches(settings),
        *_times(settings),
        *_traces(settings),
    ]


def _steps(settings: Settings) -> Iterator[Item]:
    batches, lengths = ((1, 2), (70,)) if settings.small else (_BATCHES, _CACHED)
    for cached in lengths:
        for batch in batches:
            for dtype in DTYPES:
                for form, call in forms(settings.device).items():
                    name = f"decode_step {form} {dtype} batch={batch} cached={cached}"
                    yield Item(name, partial(_step, settings, form, call, dtype, batch, cached))
    if not settings.is_cuda:
        return
    yield Item("decode_step that fits", partial(_fits, settings))


def _step(settings: Settings, form: str, call: Call, dtype: str, batch: int, cached: int) -> dict[str, Any]:
    refuse(form, dtype)
    return check(call, settings.device, dtype, batch, cached)


def _fits(settings: Settings) -> dict[str, Any]:
    """Say which form the engine takes here: the first that this GPU has the shared memory for."""
    step = Fitting(forms(settings.device))
    found = check(step, settings.device, "float32", 1, 400)
    return {**found, "taken": step.taken, "remark": step.remark}


def _captures(settings: Settings) -> Iterator[Item]:
    for dtype in DTYPES:
        for form, call in forms(settings.device).items():
            yield Item(f"capture {form} {dtype}", partial(_capture, settings, form, call, dtype))


def _capture(settings: Settings, form: str, call: Call, dtype: str) -> dict[str, Any]:
    """Replay a captured step twice on the same state; say whether it predicts what a plain call does."""
    refuse(form, dtype)
    if not settings.is_cuda:
        raise NotHere(f"CUDA graphs are captured on a CUDA device, and this is {settings.device}")
    given = inputs(settings.device, dtype, 1, 400)
    with torch.inference_mode():
        expected = call(**OPERATION.again(given))
    steps = Steps(call, settings.device, given, 1)
    same = []
    for _ in range(2):
        steps.renew()
        same.append(torch.equal(steps.run(), expected))
    return {"right": all(same)}


def _patches(settings: Settings) -> Iterator[Item]:
    ratios, frames = ((0.10,), 4) if settings.small else (_RATIOS, patches.FRAMES)
    for ratio in ratios:
        for engine in ENGINES:
            for tf32 in (False, True):
                name = f"patches {engine} ratio={ratio:.2f} tf32 {'on' if tf32 else 'off'}"
                ask = partial(patches.check, engine, settings.device, ratio, tf32, settings.video, frames)
                yield Item(name, ask)


def _times(settings: Settings) -> Iterator[Item]:
    calls, rounds = (2, 2) if settings.small else (_CALLS, 20)
    for cached in (70,) if settings.small else (400, 3200, 6400):
        for dtype in DTYPES:
            for form, call in forms(settings.device).items():
                name = f"time step {form} {dtype} batch=1 cached={cached}"
                yield Item(name, partial(_time_step, settings, form, call, dtype, cached, calls, rounds))
    ratio, frames, rounds = (0.10, 2, 1) if settings.small else (0.75, patches.FRAMES, 5)
    for dtype in DTYPES:
        for engine in reversed(ENGINES):
            ask = partial(timings.time_stages, settings, engine, dtype, ratio, frames, rounds)
            yield Item(f"time stages {engine} {dtype} ratio={ratio:.2f}", ask)


def _time_step(
    settings: Settings, form: str, call: Call, dtype: str, cached: int, calls: int, rounds: int
) -> dict[str, Any]:
    refuse(form, dtype)
    return timings.time_step(call, settings.device, dtype, 1, cached, calls, rounds)


def _traces(settings: Settings) -> Iterator[Item]:
    calls, cached = (2, 70) if settings.small else (_CALLS, 3200)
    for dtype in DTYPES:
        for form, call in forms(settings.device).items():
            name = f"trace steps {form} {dtype} batch=1 cached={cached}"
            yield Item(name, partial(_trace_steps, settings, form, call, dtype, cached, calls))
    ratio, frames = (0.10, 1) if settings.small else (0.75, 2)
    for dtype in DTYPES:
        for engine in reversed(ENGINES):
            ask = partial(timings.trace_clip, settings, engine, dtype, ratio, frames)
            yield Item(f"trace clip {engine} {dtype} ratio={ratio:.2f}", ask)


def _trace_steps(
    settings: Settings, form: str, call: Call, dtype: str, cached: int, calls: int
) -> dict[str, Any]:
    refuse(form, dtype)
    return timings.trace_steps(settings, form, call, dtype, cached, calls)
