"""GPUs that kernels are made for, and what host code may ask of one: its compute capability, no more."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Gpu:
    """A device that kernels are compiled for without it."""

    name: str
    capability: int
    """Compute capability as one number, 90 for 9.0."""
    shared_bytes: int
    """Most shared memory of one block (CUDA programming guide, technical specifications)."""
    processors: int
    """Multiprocessors. No launch depends on them; they say how much of the chip a grid fills."""


GPUS = (
    Gpu("A100", 80, 163 * 1024, 108),
    Gpu("RTX 3090", 86, 99 * 1024, 82),
    Gpu("H100, H200", 90, 227 * 1024, 132),
    Gpu("B200", 100, 227 * 1024, 148),
    Gpu("RTX 5090", 120, 99 * 1024, 170),
)

_assumed: ContextVar[Gpu | None] = ContextVar("assumed_gpu", default=None)


@contextmanager
def assuming(gpu: Gpu) -> Iterator[None]:
    """Have the enclosed launches choose their block sizes as on ``gpu``, which need not be here."""
    token = _assumed.set(gpu)
    try:
        yield
    finally:
        _assumed.reset(token)


def compute_capability(device: torch.device) -> int:
    """Return the compute capability of a CUDA device as one number, 90 for 9.0; 80 where there is none."""
    gpu = _assumed.get()
    return _capability_of(device) if gpu is None else gpu.capability


@functools.cache
def _capability_of(device: torch.device) -> int:
    if device.type != "cuda":
        return 80
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
