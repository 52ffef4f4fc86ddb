"""Programmatic dependent launch: a kernel that begins while the one before it in the stream still runs.

What the one before writes must not be read yet, nor what it reads be written. So every program of a kernel
launched like this calls :func:`await_predecessor` before it returns or touches anything but weights: then all
earlier kernels have ended, and what they wrote is seen. Only after that is the next one let in.
"""

import torch
import triton
import triton.language as tl
from triton.backends.nvidia.compiler import CUDAOptions

from kernels.gpus import compute_capability
from kernels.numerics import INTERPRETED

try:
    from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait
except ImportError:
    gdc_launch_dependents = gdc_wait = None

_LEAST_CAPABILITY = 90

LAUNCH = {} if INTERPRETED.value else {"launch_pdl": True}
"""Options of such a launch."""


def obstacle(device: torch.device) -> str | None:
    """Say why kernels cannot be launched so on a device, and the cure; None where they can. The interpreter
    runs them one after another."""
    if INTERPRETED.value:
        return None
    if gdc_wait is None or not hasattr(CUDAOptions, "launch_pdl"):
        return f"needs dependent launches, which triton {triton.__version__} lacks; install 3.6 or newer"
    if compute_capability(device) < _LEAST_CAPABILITY:
        return "launches kernels that overlap, which needs a GPU of compute capability 9.0 or newer"
    return None


@triton.jit
def await_predecessor(DEPENDENT: tl.constexpr):
    """Wait for all kernels before this one where it was launched as dependent, and let the next one in."""
    if DEPENDENT:
        if INTERPRETED:
            tl.debug_barrier()  # does nothing there, but shows where the wait is
        else:
            gdc_wait()
            gdc_launch_dependents()
