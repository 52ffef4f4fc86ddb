"""Memory traffic of launches: the bytes their programs load and store, counted under Triton's interpreter.

What is masked off does not count; what is asked for twice counts twice, whether or not a cache has it. Only
shapes, block sizes and what the inputs say of lengths decide, so a CPU finds the GPU's number. Must run where
kernels were imported under ``TRITON_INTERPRET=1``.
"""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder

from kernels.gpus import GPUS, assuming
from kernels.launches import named
from kernels.operation import Operation, Shape

Counts = dict[str, int]
"""Name of a launch to bytes."""


@contextmanager
def counted_traffic() -> Iterator[list[int]]:
    """Add up in a list of one number the bytes that interpreted kernels load and store."""
    total = [0]
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def count(pointers: Any, mask: Any) -> None:
        total[0] += int(mask.data.sum()) * (pointers.get_element_ty().primitive_bitwidth // 8)

    def counted_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        count(pointers, mask)
        return load(self, pointers, mask, *rest)

    def counted_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        count(pointers, mask)
        return store(self, pointers, value, mask, *rest)

    with (
        patch.object(InterpreterBuilder, "create_masked_load", counted_load),
        patch.object(InterpreterBuilder, "create_masked_store", counted_store),
    ):
        yield total


@contextmanager
def traffic_of_launches(known: dict[Any, int]) -> Iterator[Counts]:
    """Collect the bytes of the enclosed launches, of the first of each name.

    A launch that is ``known``, with the same grid, sizes and constants, is not carried out again, nor are
    later ones of its name: how much is read depends on inputs alone, not on what launches before left behind.
    """
    counts: Counts = {}
    execute = GridExecutor.__call__

    def run(self: Any, *args: Any, **kwargs: Any) -> None:
        constants = {key: value for key, value in kwargs.items() if key in self.arg_names}
        name = named(self.fn.__name__, constants)
        if name in counts:
            return
        sizes = [(str(a.dtype), tuple(a.shape)) if isinstance(a, torch.Tensor) else a for a in args]
        launch = (name, tuple(self.grid), str(sizes), str(sorted(constants.items())))
        if launch not in known:
            # What is padded may hold anything.
            with np.errstate(all="ignore"), counted_traffic() as total:
                execute(self, *args, **kwargs)
            known[launch] = total[0]
        counts[name] = known[launch]

    with patch.object(GridExecutor, "__call__", run):
        yield counts


def traffic(
    operation: Operation, shape: Shape, dtype: torch.dtype, capabilities: Container[int]
) -> dict[int, Counts]:
    """Return, for each of the ``capabilities`` of :data:`~kernels.gpus.GPUS`, the bytes of each of an
    operation's launches."""
    known: dict[Any, int] = {}
    result = {}
    for gpu in GPUS:
        if gpu.capability not in capabilities:
            continue
        inputs = operation.inputs(shape, dtype, torch.device("cpu"))
        with assuming(gpu), traffic_of_launches(known) as counts:
            for form in (operation.fast, *operation.launchable(torch.device("cuda")).values()):
                form(**operation.again(inputs))
        result[gpu.capability] = counts
    return result
