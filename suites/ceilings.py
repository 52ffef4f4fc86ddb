"""Ceilings of a device, measured: matrix product and memory rates that other figures are held against."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.stages import stage
from suites.axes import DTYPES
from suites.outlook import Effort, Outlook
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    import torch

_COPY_BYTES = {"cpu": 2**28, "cuda": 2**30}
"""Far more than any cache holds, and on a GPU enough for a launch to cost nothing beside it."""
_MATRIX = {"cpu": 1536, "cuda": 8192}
"""Side of the largest product tried."""
_SMALLEST_MATRIX = 256
_LONG_ENOUGH_SECONDS = 0.1
"""A product that takes as long is not made larger: a CPU may need minutes for a large one in half
precision."""
_ROUNDS = 8
_PRODUCTS = 4
"""The products of all sizes that are tried, in products of the largest: layers at their usual pace, and a
large product has a better one."""


@dataclass(frozen=True)
class Ceilings:
    """The best of a few rounds; what is faster than these has not been measured right."""

    bytes_per_second: float
    """Read and written by a copy of a buffer too large for any cache."""
    flops_per_second: float
    """Of a large square matrix product in the given precision."""

    def details(self) -> dict[str, Any]:
        """Return both by the names that reports look for."""
        return {f"ceiling.{name}": value for name, value in vars(self).items()}


def ceiling_effort(device: str, dtype: str) -> Effort:
    """Return what measuring the ceilings takes."""
    kind = device.partition(":")[0]
    return Effort(
        dtype,
        flops=_PRODUCTS * 2 * _MATRIX[kind] ** 3,
        bytes=(_ROUNDS + 1) * 2 * _COPY_BYTES[kind],
    )


def ceiling_bytes(device: str) -> int:
    """Return the memory that measuring the ceilings takes."""
    return 2 * _COPY_BYTES[device.partition(":")[0]]


def measure_ceilings(device: "torch.device", dtype: "torch.dtype") -> Ceilings:
    """Measure copy bandwidth and matrix product rate of ``device``; takes seconds at most."""
    import torch

    source = torch.ones(_COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = _seconds(lambda: target.copy_(source), device)
    size, product = _product(device, dtype)
    return Ceilings(2 * source.numel() / copy, 2 * size**3 / product)


def _product(device: "torch.device", dtype: "torch.dtype") -> tuple[int, float]:
    """Return the side of a large product of square matrices, and the seconds that it takes."""
    import torch

    most = _MATRIX[device.type]
    size = min(_SMALLEST_MATRIX, most)
    while True:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product = partial(torch.matmul, left, right)
        # The first product of a size may load a library or choose a kernel.
        if size == most or _seconds(product, device, rounds=2) >= _LONG_ENOUGH_SECONDS:
            return size, _seconds(product, device)
        size = min(2 * size, most)


def _seconds(call: Callable[[], object], device: "torch.device", rounds: int = _ROUNDS) -> float:
    """Return the shortest time that ``call`` took in some rounds."""
    best = float("inf")
    for _ in range(rounds):
        _synchronise(device)
        started = time.perf_counter()
        call()
        _synchronise(device)
        best = min(best, time.perf_counter() - started)
    return best


def _synchronise(device: "torch.device") -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


class Ceiling:
    """The workload ``ceiling``: the device's own limits in one precision.

    A suite that has it once for each precision gives every other cell its roof: reports look for ceilings
    among the cells of the same device and precision.
    """

    preload: ClassVar[Sequence[str]] = ("torch",)
    axes: ClassVar[Mapping[str, Axis]] = {"dtype": Axis("float32", known=DTYPES)}

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what a repetition takes."""
        return Outlook(
            repetition=(ceiling_effort(inputs.device, str(axes["dtype"])),),
            memory_bytes=ceiling_bytes(inputs.device),
            certain_bytes=ceiling_bytes(inputs.device),
        )

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        import torch

        self._device, self._dtype = torch.device(inputs.device), getattr(torch, str(axes["dtype"]))
        self._best = Ceilings(0.0, 0.0)
        self.notes: list[str] = []
        self.details: dict[str, Any] = {}

    def run(self) -> Ceilings:
        with stage("ceiling"):
            return measure_ceilings(self._device, self._dtype)

    def quality(self, output: Ceilings) -> Quality:
        """Keep the best of all repetitions."""
        self._best = Ceilings(
            max(self._best.bytes_per_second, output.bytes_per_second),
            max(self._best.flops_per_second, output.flops_per_second),
        )
        self.details |= self._best.details()
        return Quality(patch_hash="")
