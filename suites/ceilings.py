"""What a device can do at best: measured, beside the figures that are held against it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_COPY_BYTES = 2**28
_MATRIX = {"cpu": 1536, "cuda": 8192}
_ROUNDS = 8


@dataclass(frozen=True)
class Ceilings:
    """The best of a few rounds; what is faster than these has not been measured right."""

    bytes_per_second: float
    """Read and written by a copy of a buffer too large for any cache."""
    flops_per_second: float
    """Of a large square matrix product in the given precision."""


def measure_ceilings(device: "torch.device", dtype: "torch.dtype") -> Ceilings:
    """Measure copy bandwidth and matrix product rate of ``device``; takes about a second."""
    import torch

    def seconds(call: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(_ROUNDS):
            _synchronise(device)
            started = time.perf_counter()
            call()
            _synchronise(device)
            best = min(best, time.perf_counter() - started)
        return best

    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source))
    size = _MATRIX[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    product = seconds(lambda: left @ right)
    return Ceilings(2 * _COPY_BYTES / copy, 2 * size**3 / product)


def _synchronise(device: "torch.device") -> None:
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
