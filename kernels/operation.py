"""Operation: a kernel's inputs to try it on, its definition, its fast forms, and when they agree.

Each folder of :mod:`kernels` has an ``operation.py`` with one :class:`Operation`, ``OPERATION``. The tests,
the compile check, the micro-benchmarks and the ``kernels`` suite know operations by nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Shape = Mapping[str, int]
"""Named sizes."""
Inputs = dict[str, Any]
"""Keyword arguments of every form of an operation."""

ROUNDING = {torch.float32: 2e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Tolerance for what rounds one float32 sum of a few hundred terms, or one stored half-precision value a few
times."""


@dataclass(frozen=True)
class Operation:
    """One operation. ``reference``, ``fast`` and ``native`` take the same keyword arguments and return one
    tensor."""

    name: str
    """That of its folder."""
    inputs: Callable[[Shape, torch.dtype, torch.device], Inputs]
    """Seeded arguments for a shape."""
    reference: Callable[..., Tensor]
    fast: Callable[..., Tensor]
    work: Callable[[Shape, int], tuple[int, int]]
    """(FLOPs, least bytes moved) for a shape and the bytes of an element."""
    timed_shapes: tuple[Shape, ...]
    tested_shapes: tuple[Shape, ...]
    """Small and odd ones, for the interpreter."""
    compiled_shapes: tuple[Shape, ...]
    tolerance: Mapping[torch.dtype, float]
    """Largest difference from the reference, relative to the reference's standard deviation."""
    native: Callable[..., Tensor] | None = None
    """A form for float32 on a CPU; None where there is none. It may raise
    :class:`~kernels.c_compiler.BuildError`."""

    variants: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    """Other ways to launch the fast form, by name: tested, compiled and timed like it."""

    variant_obstacle: Callable[[str, torch.device], str | None] = lambda name, device: None
    """Says why a variant cannot be launched on a device, and the cure; None where it can."""

    changed: Callable[[Inputs], Sequence[Tensor]] = lambda inputs: ()
    """The tensors among the arguments that a call changes so that the next one does something else."""
    again: Callable[[Inputs], Inputs] = lambda inputs: inputs
    """The same arguments for one more call: what is :attr:`changed` copied, all else shared."""

    def launchable(self, device: torch.device) -> dict[str, Callable[..., Tensor]]:
        """Return the variants that can be launched on a device, by name."""
        return {
            name: form for name, form in self.variants.items() if self.variant_obstacle(name, device) is None
        }

    def disagreement(self, inputs: Inputs, fast: Tensor) -> float:
        """Return the largest difference of ``fast`` from the reference, relative to the reference's
        deviation. ``inputs`` are left as they are."""
        expected = self.reference(**self.again(inputs)).float()
        spread = expected.std() if expected.numel() > 1 else expected.abs()
        return float((fast.float() - expected).abs().max() / spread) if expected.numel() else 0.0
