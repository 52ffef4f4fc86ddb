"""Kernel names that ran, by the profiler's word, so that no report has to believe a backend's name."""

import re
from collections.abc import Callable, Iterable

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler import profile
from torch.autograd.profiler_util import FunctionEvent

_HOST_KERNEL = re.compile(
    r"aten::(_scaled_dot_product_\w+|_softmax|bmm|baddbmm)$"  # ATen's
    r"|graph_\d+_\w+"  # written in C++ by torch.compile
)
_CHOICE = re.compile(r"aten::_scaled_dot_product_\w+$")
"""What ``scaled_dot_product_attention`` chose to run: kernels of a GPU seldom say it by their names."""
_GRAPH = re.compile(r"^graph_\d+_")
"""Numbers the compiled functions of a process, so it would make equal kernels look different."""
_NOT_COMPUTING = ("Memcpy", "Memset")


def kernels_that_ran(work: Callable[[], object]) -> tuple[str, ...]:
    """Return the names of the kernels that ``work()`` runs, each once, in the order of their first run.

    On a GPU these are torch's choices of a fused attention, then all kernels without template arguments; on a
    CPU the ATen operators that compute scores, softmax or attention as a whole, and kernels written by
    torch.compile. ``work`` is called twice, once before anything is watched, so that compilation leaves no
    trace.
    """
    work()
    # The same as torch.profiler.profile, which imports the whole of torch.compile when it begins: a second.
    with profile(use_device="cuda" if torch.cuda.is_available() else None) as trace:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return _kernels(trace.function_events or [])


def _kernels(events: Iterable[FunctionEvent]) -> tuple[str, ...]:
    on_device: list[str] = []
    on_host: list[str] = []
    for event in events:
        (on_device if event.device_type == DeviceType.CUDA else on_host).append(event.name)
    names = [_plain(name) for name in on_device if not name.startswith(_NOT_COMPUTING)]
    if names:
        names = [name for name in on_host if _CHOICE.match(name)] + names
    else:
        names = [_GRAPH.sub("compiled_", name) for name in on_host if _HOST_KERNEL.match(name)]
    return tuple(dict.fromkeys(names))


def _plain(name: str) -> str:
    """Cut a C++ signature down to the function's name."""
    return re.split(r"[<(]", name.removeprefix("void "))[0]
