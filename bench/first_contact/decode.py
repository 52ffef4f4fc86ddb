"""Decode step on a device: its forms, inputs of any size, one call or many captured as one launch."""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from autogaze.models.autogaze.frame_launches import directly, in_cuda_graph
from bench.first_contact.item import NotHere
from bench.meters.clocks import device_clock
from kernels.decode_step.variants import measured_as
from kernels.numerics import INTERPRETED
from kernels.operation import Inputs
from kernels.registry import OPERATIONS

OPERATION = OPERATIONS["decode_step"]
DTYPES = ("float32", "bfloat16")

Call = Callable[..., Tensor]


def forms(device: str) -> dict[str, Call]:
    """Return the forms that a device may have, by name: on a CPU Triton's only where it is interpreted."""
    launchable = OPERATION.launchable(torch.device(device))
    triton = {"triton": OPERATION.fast} | {measured_as(name): form for name, form in launchable.items()}
    if device.startswith("cuda"):
        return triton
    native = {} if OPERATION.native is None else {"native": OPERATION.native}
    return native | (triton if INTERPRETED else {})


def refuse(form: str, dtype: str) -> None:
    """Raise :class:`NotHere` for a form that does not compute in ``dtype``."""
    if form == "native" and dtype != "float32":
        raise NotHere(f"the native form computes float32, not {dtype}")


@lru_cache(maxsize=1)
def inputs(device: str, dtype: str, batch: int, cached: int) -> Inputs:
    """Return the arguments of a step of the released model's sizes; those asked for last are kept."""
    shape = {**OPERATION.timed_shapes[0], "batch": batch, "cached": cached}
    return OPERATION.inputs(shape, getattr(torch, dtype), torch.device(device))


def check(call: Call, device: str, dtype: str, batch: int, cached: int) -> dict[str, Any]:
    """Return how far a form is from the reference, and whether that is tolerated."""
    given = inputs(device, dtype, batch, cached)
    with torch.inference_mode():
        error = OPERATION.disagreement(given, call(**OPERATION.again(given)))
    tolerated = OPERATION.tolerance[getattr(torch, dtype)]
    return {"error": error, "tolerated": tolerated, "right": error <= tolerated}


class Steps:
    """Steps on states of their own that share a cache: on a GPU captured in one CUDA graph."""

    def __init__(self, call: Call, device: str, given: Inputs, count: int) -> None:
        """Prepare ``count`` of them; the first calls are made here."""
        self.count, self.device = count, device
        self._call, self._given = call, [OPERATION.again(given) for _ in range(count)]
        self._changed = [tensor for each in self._given for tensor in OPERATION.changed(each)]
        self._before = [tensor.clone() for tensor in self._changed]
        self._outputs: list[Tensor] = []
        capture = in_cuda_graph if device.startswith("cuda") else directly
        with torch.inference_mode():
            self._launch = capture(self._all, self.renew)

    def _all(self) -> None:
        self._outputs[:] = [self._call(**each) for each in self._given]

    def renew(self) -> None:
        """Make the states what they were."""
        with torch.inference_mode():
            torch._foreach_copy_(self._changed, self._before)

    def run(self) -> Tensor:
        """Take all steps; return what the last one predicts."""
        with torch.inference_mode():
            self._launch()
        return self._outputs[-1]

    def seconds(self, rounds: int) -> list[float]:
        """Return the time of a step in each of some rounds, by the device's events where it has them."""
        return [each / self.count for each in times(self.run, self.renew, self.device, rounds)]


def times(run: Callable[[], object], renew: Callable[[], None], device: str, rounds: int) -> Iterable[float]:
    """Return the seconds of ``run`` in each of some rounds, by the device's events where it has them."""
    clock = device_clock(device)
    for _ in range(rounds):
        renew()
        clock.synchronise()
        begin, started = clock.event(), time.perf_counter()
        run()
        end = clock.event()
        clock.synchronise()
        took = time.perf_counter() - started
        yield took if begin is None or end is None else begin.elapsed_time(end) / 1000
