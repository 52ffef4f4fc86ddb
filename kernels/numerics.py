"""Matrix products inside kernels, the same on a GPU and under Triton's interpreter."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import triton
import triton.language as tl

INTERPRETED: tl.constexpr = tl.constexpr(bool(triton.knobs.runtime.interpret))
"""Whether kernels run under the interpreter (``TRITON_INTERPRET=1`` when they were imported)."""


@triton.jit
def product(b_a, b_b, b_acc, PRECISION: tl.constexpr):
    """Return ``b_acc + b_a @ b_b`` in float32. ``PRECISION`` is what tl.dot may do to float32 inputs."""
    if INTERPRETED:  # Its dot knows no bfloat16. Widening changes no value, so the sum is the same.
        return tl.dot(b_a.to(tl.float32), b_b.to(tl.float32), b_acc, input_precision=PRECISION)
    return tl.dot(b_a, b_b, b_acc, input_precision=PRECISION)


_assumed: ContextVar[int | None] = ContextVar("assumed_capability", default=None)


@contextmanager
def assuming_capability(capability: int) -> Iterator[None]:
    """Have the enclosed launches choose their block sizes as for a GPU of ``capability``, which need not be
    here."""
    token = _assumed.set(capability)
    try:
        yield
    finally:
        _assumed.reset(token)


def compute_capability(device: torch.device) -> int:
    """Return the compute capability of a CUDA device as one number, 90 for 9.0; 80 where there is none."""
    return _assumed.get() or _capability_of(device)


@functools.cache
def _capability_of(device: torch.device) -> int:
    if device.type != "cuda":
        return 80
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
