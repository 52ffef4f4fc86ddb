"""Attention by torch's FlexAttention: one compiled kernel for every mask, which skips what nobody sees.

Every mask here lets a token see one interval of the sequence, and the class token. So two numbers a query say
it all, and which blocks of 128 × 128 scores are seen wholly, partly or not at all follows from the intervals:
no (length, length) mask is ever built, and layouts of all shapes run the same compiled code.

The kernel is compiled at the first use of a new combination of number format, head size and kind of layout;
that is the stage ``compile``. On a CPU it is C++ and computes no gradients.
"""

import functools
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor

from autogaze.attention.cached import CachedLayout
from autogaze.attention.layout import FrameLayout
from autogaze.attention.packed import PackedLayout, Seen, by_runs, packing_of, seen_by
from autogaze.errors import BackendUnavailable
from autogaze.stages import stage

BLOCK = 128
"""Queries and keys of a block that is skipped or computed as a whole; the kernels' own default."""

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_TABLE = 4096
"""Least length of what a mask looks up; longer sequences take the next power of two."""
_MOST_VARIANTS = 64
"""Compiled variants kept for number formats, head sizes and ways in which tensors lie in memory."""


def obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Say why FlexAttention cannot run for a device and a data type, and the cure; None where it can."""
    if dtype not in _DTYPES:
        return (
            f"computes in float32, bfloat16 or float16, not in {dtype}".replace("torch.", "") + "; use 'sdpa'"
        )
    if device.type == "cpu":
        return _cpu_obstacle()
    if device.type != "cuda":
        return f"runs on CPU and CUDA devices, not on {device.type}; use 'sdpa'"
    if not torch.cuda.is_available():
        return "needs a CUDA device that torch can use; use device 'cpu'"
    if importlib.util.find_spec("triton") is None:
        return "needs Triton to compile its kernel for a GPU; install triton, or use 'sdpa'"
    return None


@functools.cache
def _cpu_obstacle() -> str | None:
    if sys.platform == "darwin" or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return "needs AVX2 on a CPU, and Linux or Windows; use 'sdpa'"
    compiler = os.environ.get("CXX", "g++")
    if sys.platform != "win32" and shutil.which(compiler) is None:
        return f"needs a C++ compiler and finds no '{compiler}'; install g++ or set CXX, or use 'sdpa'"
    return None


def attend_packed(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Masked softmax attention in a row of tokens; every tensor is (total, heads, head_dim).

    Equal videos are a batch that shares one mask. Others are one call on a GPU. On a CPU they are a call for
    each run of equal ones, since the kernel would compute wholly what blocks of two videos have in common:
    measured with eight videos of 270 to 410 tokens, 1.3 to 1.7 times the time.
    """
    if query.device.type == "cpu" or len(layout.runs) == 1:
        return _runs(query, key, value, layout, scale)
    return attend_row(query, key, value, layout, scale)


def attend_row(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """:func:`attend_packed` in one call, whatever the videos."""
    mask = layout.once(("flex", query.device), lambda: block_mask(layout, query.device))
    q, k, v = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    return run(q, k, v, scale, block_mask=mask)[0].transpose(0, 1)


def _attend_equals(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """The same for a batch without padding; every tensor is (batch, heads, length, head_dim)."""
    device = query.device
    mask = layout.once(("flex", device), lambda: block_mask(packing_of(layout, 1, device).layout, device))
    return run(query, key, value, scale, block_mask=mask)


_runs = by_runs(_attend_equals)


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, layout: CachedLayout, scale: float) -> Tensor:
    """Attention over a cache; see :data:`autogaze.attention.registry.AttendCached`.

    What a video sees is looked up by a rule that stays the same while the cache grows, so that nothing is
    compiled anew.
    """
    tokens, device = query.shape[2], query.device
    ahead = layout.once(("flex", tokens, device), lambda: _table(layout.seen_on(device) - tokens))

    def visible(score: Tensor, video: Tensor, head: Tensor, token: Tensor, key: Tensor) -> Tensor:
        return torch.where(key <= token + ahead[video], score, -float("inf"))

    return run(query, keys, values, scale, score_mod=visible)


def run(query: Tensor, key: Tensor, value: Tensor, scale: float, **form: Any) -> Tensor:
    """Run the compiled kernel; ``form`` is FlexAttention's ``block_mask`` or ``score_mod``."""
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    if not learns:
        # Torch would compile anew for each way in which tensors are views of others.
        query, key, value = query.detach(), key.detach(), value.detach()
    elif query.device.type == "cpu":
        raise BackendUnavailable(
            "attention backend 'flex' computes no gradients on a CPU; use 'sdpa', or torch.no_grad()"
        )
    from torch._dynamo.exc import FailOnRecompileLimitHit

    with torch.set_grad_enabled(learns), _compilation_as_stage():
        try:
            return _compiled()(query, key, value, scale=scale, **form)
        except FailOnRecompileLimitHit:
            # One more variant, and torch keeps to 8 of a function unless told otherwise.
            with torch._dynamo.config.patch(recompile_limit=_MOST_VARIANTS):
                return _compiled()(query, key, value, scale=scale, **form)


def block_mask(layout: PackedLayout, device: torch.device) -> Any:
    """Return the ``BlockMask`` of a row of tokens, in memory that grows with its length."""
    from torch.nn.attention.flex_attention import BlockMask

    seen = seen_by(layout, device)
    some, every = _seen_blocks(seen)
    partly_count, partly = _listed(some & ~every)
    wholly_count, wholly = _listed(every)
    return BlockMask.from_kv_blocks(
        partly_count,
        partly,
        wholly_count,
        wholly,
        BLOCK_SIZE=BLOCK,
        mask_mod=_rule(seen),
        seq_lengths=(layout.length, layout.length),
    )


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    # fullgraph: where the kernel cannot be compiled there is an error, and no dense attention in its place.
    # The kernel profile makes the C++ kernel visible to the profiler, as those of a GPU are.
    compiled = torch.compile(
        flex_attention, dynamic=True, fullgraph=True, options={"cpp.enable_kernel_profile": True}
    )
    return cast(Callable[..., Tensor], compiled)


@contextmanager
def _compilation_as_stage() -> Iterator[None]:
    """Mark what torch compiles inside as stage ``compile``."""
    from torch._dynamo.callback import callback_handler

    running = ExitStack()

    def started(_: Any) -> None:
        running.enter_context(stage("compile"))

    def ended(_: Any) -> None:
        running.close()

    callback_handler.register_start_callback(started)
    callback_handler.register_end_callback(ended)
    try:
        yield
    finally:
        callback_handler.remove_start_callback(started)
        callback_handler.remove_end_callback(ended)


def _rule(seen: Seen) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return FlexAttention's ``mask_mod``: one function for all layouts, so that it is compiled once."""
    first, last, apart = (_table(tokens) for tokens in seen)

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= first[query]) & (key < last[query]) | (key == apart[query])

    return visible


def _table(tokens: Tensor) -> Tensor:
    """Bring what the rule looks up to one of few lengths, and fix its shape in the compiled code.

    Left dynamic, the number of tokens is one more symbol in the C++ kernel, and torch (2.13) garbles the
    names of those that a rule indexes with.
    """
    capacity = max(_TABLE, 1 << (len(tokens) - 1).bit_length())
    table = torch.nn.functional.pad(tokens, (0, capacity - len(tokens)))
    torch._dynamo.mark_static(table)
    return table


def _seen_blocks(seen: Seen) -> tuple[Tensor, Tensor]:
    """Return two (1, 1, blocks, blocks) bool: blocks with a score that is seen, and those seen wholly.

    A block that reaches past the end of the row never counts as seen wholly.
    """
    first, last, apart = seen
    total, device = len(first), first.device
    # At least two blocks, since a dimension of one would be compiled as a case of its own.
    short = max(-(-total // BLOCK), 2) * BLOCK - total
    first, last = (
        torch.nn.functional.pad(each, (0, short), value=filling).unflatten(0, (-1, BLOCK))
        for each, filling in ((first, total), (last, 0))
    )
    start = torch.arange(len(first), device=device) * BLOCK
    some = (first.amin(1)[:, None] < start + BLOCK) & (last.amax(1)[:, None] > start)
    some[torch.arange(total, device=device) // BLOCK, (apart // BLOCK).long()] = True
    every = (first.amax(1)[:, None] <= start) & (last.amin(1)[:, None] >= start + BLOCK)
    return some[None, None], every[None, None]


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of each row are True, and their columns first, both int32."""
    columns = blocks.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(dim=-1, dtype=torch.int32), columns.to(torch.int32)
