"""Which kernels ran: the profiler's word, so that no report has to believe a backend's name."""

import re
from collections.abc import Callable

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

_HOST_KERNEL = re.compile(
    r"aten::(_scaled_dot_product_\w+|_softmax|bmm|baddbmm)$"  # ATen's
    r"|graph_\d+_\w+"  # written in C++ by torch.compile
)
_GRAPH = re.compile(r"^graph_\d+_")
"""Numbers the compiled functions of a process, so it would make equal kernels look different."""
_NOT_COMPUTING = ("Memcpy", "Memset")


def kernels_that_ran(work: Callable[[], object]) -> tuple[str, ...]:
    """Return the names of the kernels that ``work()`` runs, each once, in the order of their first run.

    On a GPU these are all its kernels, without template arguments; on a CPU the ATen operators that compute
    scores, softmax or attention as a whole, and kernels written by torch.compile. ``work`` is called twice,
    once before anything is watched, so that compilation leaves no trace.
    """
    work()
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as trace:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    events = trace.events() or []
    on_device = [event.name for event in events if event.device_type == DeviceType.CUDA]
    names = [_plain(name) for name in on_device if not name.startswith(_NOT_COMPUTING)]
    if not names:
        names = [_GRAPH.sub("compiled_", event.name) for event in events if _HOST_KERNEL.match(event.name)]
    return tuple(dict.fromkeys(names))


def _plain(name: str) -> str:
    """Cut a C++ signature down to the function's name."""
    return re.split(r"[<(]", name.removeprefix("void "))[0]
