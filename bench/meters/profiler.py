"""Profiler: something done once under ``torch.profiler``, and the trace of it, for Perfetto to open.

What is watched is slower than what is timed, by what is noted of every operator on the host; the device's
work takes as long as ever.
"""

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from autogaze.files import replacing
from autogaze.stages import observed_by

Trace = dict[str, Any]
"""A trace in Chrome's format; ``traceEvents`` is a list of events."""


class _Marks:
    """Observer that puts stages into the trace."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        return _mark(name)

    def count(self, name: str, amount: int) -> None:
        return

    def took(self, name: str, seconds: float) -> None:
        return


@contextmanager
def _mark(name: str) -> Iterator[None]:
    from torch.profiler import record_function

    with record_function(name):
        yield


def watched(run: Callable[[], object], device: str, whole: str) -> Trace:
    """Run something once under the profiler, on a torch device, its stages marked by their names and all of
    it as ``whole``; return the trace."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    is_cuda = device.startswith("cuda")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=kinds) as profiler, observed_by(_Marks()), _mark(whole):
        run()
        if is_cuda:
            torch.cuda.synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(exported))
        trace: Trace = json.loads(exported.read_bytes())
    return trace


def write_trace(trace: Mapping[str, Any], path: Path) -> None:
    """Write a trace, compressed, as https://ui.perfetto.dev opens it."""
    with replacing(path) as beside, gzip.open(beside, "wt", encoding="utf-8") as file:
        json.dump(trace, file)
