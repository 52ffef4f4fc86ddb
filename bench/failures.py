"""Failures: what an exception that escapes a workload makes of its cell."""

import sys
import traceback

from autogaze.errors import BackendUnavailable, InputError
from bench.records import Status


def classified(error: Exception) -> tuple[Status, str]:
    """Return the status that an exception means, and one sentence on why."""
    if isinstance(error, BackendUnavailable):
        return Status.UNSUPPORTED, str(error)
    if isinstance(error, InputError):
        return Status.FAILED, str(error)
    sentence = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return Status.OUT_OF_MEMORY, sentence
    if _is_out_of_resources(error):
        return Status.UNSUPPORTED, f"this GPU is too small for a kernel: {sentence}"
    return Status.FAILED, sentence


def _is_torch_out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate" in str(error)


def _is_out_of_resources(error: Exception) -> bool:
    """Return whether Triton found that a launch wants more of a multiprocessor than it has."""
    errors = sys.modules.get("triton.runtime.errors")
    return errors is not None and isinstance(error, errors.OutOfResources)
