"""Memory of key-value caches on a CPU, kept from one generation to the next.

Fresh memory is cleared by the system when it is first written to. That took 1 to 33 ms of the 90 ms that the
native engine needs for 16 frames at a gaze ratio of 0.10, depending on whether the system had large pages to
give, and 4 to 9 % of the time at other budgets and in batches.
"""

import ctypes
import math
import mmap
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

KEPT = 2
"""Pieces of memory kept when their tensors are gone: the keys and the values of one cache."""
LARGEST_KEPT = 2**27
"""Bytes of a piece; larger ones go back to the system."""
_LARGE_PAGE = 2**21

_kept: deque[mmap.mmap] = deque(maxlen=KEPT)


def zeros(shape: Sequence[int], like: Tensor, *, filled: bool, clean: bool) -> Tensor:
    """Return a tensor of zeros with the device and precision of ``like``.

    On a CPU its pages come from the system one by one when they are written to. What will be ``filled`` comes
    in large pages, where there are any: a few of those are cleared in a tenth of the time that thousands of
    small ones take. If it need not be ``clean``, it may hold numbers of a cache before it.
    """
    if not like.is_cpu or not hasattr(mmap, "MAP_ANONYMOUS"):
        return like.new_zeros(shape)
    size = math.prod(shape) * like.element_size()
    memory = _reused(size + _LARGE_PAGE)
    is_clean = memory is None
    if memory is None:
        memory = _fresh(size + _LARGE_PAGE, filled)
    whole = torch.frombuffer(_lent(memory), dtype=torch.uint8)
    start = -whole.data_ptr() % _LARGE_PAGE
    tensor = whole[start : start + size].view(like.dtype).view(shape)
    return tensor if is_clean or not clean else tensor.zero_()


def _fresh(size: int, filled: bool) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if filled and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _reused(size: int) -> mmap.mmap | None:
    """Return memory of at least ``size`` bytes that was kept. What is too small is given back: a new piece
    will take its place."""
    for _ in range(len(_kept)):
        with suppress(IndexError):  # another thread was faster
            memory = _kept.popleft()
            if len(memory) >= size:
                return memory
    return None


def _lent(memory: mmap.mmap) -> Any:
    """Return a buffer on the memory, which is kept once the buffer and all tensors on it are gone."""
    buffer = (ctypes.c_char * len(memory)).from_buffer(memory)
    if len(memory) <= LARGEST_KEPT:
        weakref.finalize(buffer, _kept.append, memory).atexit = False
    return buffer
