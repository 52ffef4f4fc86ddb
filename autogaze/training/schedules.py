"""Schedules of the learning rate and of the sampling temperature.

Both are functions of the step alone, so that there is nothing to save.
"""

import math
from collections.abc import Callable

from autogaze.errors import InputError, unknown_name

WARMUP_SHARE = 0.1
"""Share of the steps over which ``linear_w_warmup`` rises."""

Schedule = Callable[[int], float]


def learning_rate(kind: str, peak: float, floor: float, steps: int) -> Schedule:
    """Return the learning rate as a function of the step, 0 to ``steps`` - 1.

    ``linear`` falls from ``peak`` to ``floor``; ``linear_w_warmup`` first rises to ``peak`` over a tenth of
    the steps; ``constant`` stays at ``peak``.
    """
    warmup = math.ceil(WARMUP_SHARE * steps)

    def fall(step: int, steps: int) -> float:
        return peak + (floor - peak) * step / max(1, steps - 1)

    schedules: dict[str, Schedule] = {
        "constant": lambda step: peak,
        "linear": lambda step: fall(step, steps),
        "linear_w_warmup": lambda step: (
            peak * (step + 1) / warmup if step < warmup else fall(step - warmup, steps - warmup)
        ),
    }
    if kind not in schedules:
        raise unknown_name("lr_schedule", kind, schedules)
    return schedules[kind]


def exponential(start: float, end: float, steps: int) -> Schedule:
    """Return the exponential from ``start``, at step 0, to ``end``, at step ``steps`` - 1."""
    if start <= 0 or end <= 0:
        raise InputError(f"a temperature goes from {start} to {end}; both must be above 0")
    return lambda step: float(start * (end / start) ** (step / max(1, steps - 1)))
