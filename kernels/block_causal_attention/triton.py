"""Attention in which every query sees one interval of keys: the fast form.

Flash attention (Dao, 2023) over packed tokens. A program takes a block of consecutive queries of one head and
walks from the first key any of them sees to the last; only blocks of keys that some query does not see are
masked. Blocks may lie across frames and videos, so there are no tables, no padding and no sorting. Least
work: 4 D FLOPs a visible pair and head; least traffic: queries and outputs once, keys and values once for
each block of queries.
"""

import triton
import triton.language as tl
from torch import Tensor, empty_like

from kernels.gpus import compute_capability
from kernels.numerics import LAUNCH, product

_LOG2_E = 1.4426950408889634


@triton.jit
def _accumulate(
    b_acc, b_max, b_sum, b_q, p_k, p_v, i_first, o_d, m_d, stride_token, b_lo, b_hi, keys, scale_log2,
    BLOCK_KEYS: tl.constexpr, MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Take one block of keys, from ``i_first`` on, into the running softmax."""
    o_k = i_first + tl.arange(0, BLOCK_KEYS)
    m_k = o_k < keys
    o_row = o_k * stride_token
    # (head_dim, keys)
    b_k = tl.load(p_k + o_row[None, :] + o_d[:, None], mask=m_k[None, :] & m_d[:, None], other=0.0)
    b_scores = product(b_q, b_k, tl.zeros([b_q.shape[0], BLOCK_KEYS], tl.float32), PRECISION) * scale_log2
    if MASKED:
        m_see = (o_k[None, :] >= b_lo[:, None]) & (o_k[None, :] < b_hi[:, None])
        b_scores = tl.where(m_see, b_scores, float("-inf"))
    b_new_max = tl.maximum(b_max, tl.max(b_scores, 1))
    # A query that has seen nothing yet has a maximum of -inf; subtracting 0 instead keeps its weights at 0.
    b_safe = tl.where(b_new_max == float("-inf"), 0.0, b_new_max)
    b_weights = tl.exp2(b_scores - b_safe[:, None])
    b_shrink = tl.exp2(b_max - b_safe)
    # (keys, head_dim)
    b_v = tl.load(p_v + o_row[:, None] + o_d[None, :], mask=m_k[:, None] & m_d[None, :], other=0.0)
    b_acc = b_acc * b_shrink[:, None]
    b_acc = product(b_weights.to(b_v.dtype), b_v, b_acc, PRECISION)
    return b_acc, b_new_max, b_sum * b_shrink + tl.sum(b_weights, 1)


@triton.jit
def _take_class(
    b_acc, b_max, b_sum, p_query, p_key, p_value, o_class, m_q, scale_log2,
    HEAD_DIM: tl.constexpr, BLOCK_QUERIES: tl.constexpr, BLOCK_DIM: tl.constexpr,
):  # fmt: skip
    """Take each query's class key into the softmax, where it has one; ``p_key`` and ``p_value`` are its rows.

    It comes last and reads the queries again, a slice of channels at a time: were it first, the loops over
    keys would have to keep their sums in the layout of these loads, and registers would run out.
    """
    m_class = o_class >= 0
    b_scores = tl.zeros([BLOCK_QUERIES], tl.float32)
    for i_d in tl.static_range(0, BLOCK_DIM, 16):
        o_d = i_d + tl.arange(0, 16)
        m_d = (o_d < HEAD_DIM)[None, :]
        # (queries, 16)
        b_q = tl.load(p_query + o_d[None, :], mask=m_q[:, None] & m_d, other=0.0).to(tl.float32)
        b_k = tl.load(p_key + o_d[None, :], mask=m_class[:, None] & m_d, other=0.0).to(tl.float32)
        b_scores += tl.sum(b_q * b_k, 1)
    b_scores = tl.where(m_class, b_scores * scale_log2, float("-inf"))
    b_new_max = tl.maximum(b_max, b_scores)
    b_safe = tl.where(b_new_max == float("-inf"), 0.0, b_new_max)
    b_weight = tl.exp2(b_scores - b_safe)
    b_shrink = tl.exp2(b_max - b_safe)
    o_d = tl.arange(0, BLOCK_DIM)
    # (queries, head_dim)
    b_v = tl.load(p_value + o_d[None, :], mask=m_class[:, None] & (o_d < HEAD_DIM)[None, :], other=0.0)
    b_acc = b_acc * b_shrink[:, None] + b_v.to(tl.float32) * b_weight[:, None]
    return b_acc, b_sum * b_shrink + b_weight


@triton.jit
def _keys_seen(b_lo, b_hi, m_q, keys, BLOCK_KEYS: tl.constexpr):
    """Return where a block of queries begins to see keys, where whole blocks of keys that all of its queries
    see begin and end, and where the last key is that any of them sees."""
    i_start = tl.min(tl.where(m_q, b_lo, keys))
    i_all_first = tl.max(b_lo)
    i_all_end = tl.min(tl.where(m_q, b_hi, keys))
    i_full = i_start + tl.cdiv(i_all_first - i_start, BLOCK_KEYS) * BLOCK_KEYS
    i_full_end = i_full + tl.maximum(i_all_end - i_full, 0) // BLOCK_KEYS * BLOCK_KEYS
    return i_start, i_full, i_full_end, tl.max(b_hi)


@triton.jit(do_not_specialize=["tokens", "keys"])  # one compiled form for all lengths
def interval_attention_kernel(
    p_query, p_key, p_value, p_output, p_first, p_end, p_class,
    tokens, keys, scale_log2, stride_query, stride_key,
    HEAD_DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, BLOCK_QUERIES: tl.constexpr, BLOCK_KEYS: tl.constexpr,
    HAS_CLASS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    # Later queries see more keys under causal masks: they start first, so that none is left working alone.
    i_block = tl.num_programs(0) - 1 - tl.program_id(0)
    i_channel = tl.program_id(1) * HEAD_DIM
    o_q = i_block * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    m_q = o_q < tokens
    o_d = tl.arange(0, BLOCK_DIM)
    m_d = o_d < HEAD_DIM
    p_query += i_channel + o_q[:, None] * stride_query
    p_key += i_channel
    p_value += i_channel
    # (queries,)
    b_lo = tl.load(p_first + o_q, mask=m_q, other=0)
    b_hi = tl.load(p_end + o_q, mask=m_q, other=0)
    i_start, i_full, i_full_end, i_end = _keys_seen(b_lo, b_hi, m_q, keys, BLOCK_KEYS)
    # (queries, head_dim)
    b_q = tl.load(p_query + o_d[None, :], mask=m_q[:, None] & m_d[None, :], other=0.0)
    b_acc = tl.zeros([BLOCK_QUERIES, BLOCK_DIM], tl.float32)
    b_max = tl.full([BLOCK_QUERIES], float("-inf"), tl.float32)
    b_sum = tl.zeros([BLOCK_QUERIES], tl.float32)
    for i_first in range(i_start, i_full, BLOCK_KEYS):
        b_acc, b_max, b_sum = _accumulate(
            b_acc, b_max, b_sum, b_q, p_key, p_value, i_first, o_d, m_d, stride_key, b_lo, b_hi, keys,
            scale_log2, BLOCK_KEYS, True, PRECISION,
        )  # fmt: skip
    for i_first in range(i_full, i_full_end, BLOCK_KEYS):
        b_acc, b_max, b_sum = _accumulate(
            b_acc, b_max, b_sum, b_q, p_key, p_value, i_first, o_d, m_d, stride_key, b_lo, b_hi, keys,
            scale_log2, BLOCK_KEYS, False, PRECISION,
        )  # fmt: skip
    for i_first in range(i_full_end, i_end, BLOCK_KEYS):
        b_acc, b_max, b_sum = _accumulate(
            b_acc, b_max, b_sum, b_q, p_key, p_value, i_first, o_d, m_d, stride_key, b_lo, b_hi, keys,
            scale_log2, BLOCK_KEYS, True, PRECISION,
        )  # fmt: skip
    if HAS_CLASS:
        # The class key counts where it lies before the interval: no need to walk there.
        o_class = tl.load(p_class + o_q, mask=m_q, other=-1)
        o_class = tl.where(o_class < b_lo, o_class, -1)
        o_row = o_class[:, None] * stride_key
        b_acc, b_sum = _take_class(
            b_acc, b_max, b_sum, p_query, p_key + o_row, p_value + o_row, o_class, m_q, scale_log2,
            HEAD_DIM, BLOCK_QUERIES, BLOCK_DIM,
        )  # fmt: skip
    p_out = p_output + i_channel + o_q[:, None] * stride_query + o_d[None, :]
    b_out = b_acc / tl.where(b_sum == 0.0, 1.0, b_sum)[:, None]
    tl.store(p_out, b_out.to(p_output.dtype.element_ty), mask=m_q[:, None] & m_d[None, :])


def blocks(head_dim: int, element_size: int, capability: int) -> dict[str, int | str]:
    """Return block sizes and launch parameters for a GPU of compute ``capability`` (80, 86, 90, 100, 120).

    None spills registers under any triton from 3.6 to 3.9 (``make check-kernels``).
    """
    block_dim = max(16, triton.next_power_of_2(head_dim))
    choose = _float32_blocks if element_size == 4 else _half_blocks
    queries, keys, warps, stages = choose(block_dim, capability // 10)
    return {
        "BLOCK_DIM": block_dim,
        # Three products to a factor overflow the registers at 128 channels; plain multiplication does not.
        "PRECISION": "ieee" if block_dim >= 128 else "tf32x3",  # says nothing of half precision
        "BLOCK_QUERIES": queries,
        "BLOCK_KEYS": keys,
        "num_warps": warps,
        "num_stages": stages,
        # All that there are: ptxas would otherwise spill a few for one more block on a multiprocessor.
        "maxnreg": min(255, 65536 // (32 * warps)),
    }


_Blocks = tuple[int, int, int, int]
"""Queries and keys of a block, warps, stages."""


def _float32_blocks(block_dim: int, generation: int) -> _Blocks:
    if block_dim >= 128:
        return 32, 16, 8, 1
    if block_dim >= 64:
        return 32, 32, 8, 2
    if block_dim == 32:
        return 64, 32, 8 if generation >= 12 else 4, 2
    return 64, 64, 8, 2


def _half_blocks(block_dim: int, generation: int) -> _Blocks:
    if block_dim <= 32:
        return 128, 64 if generation in (9, 10) else 32, 8, 3 if generation == 9 else 2
    if generation == 10:
        return 64, 64, 4, 2
    if block_dim <= 64 or generation == 9:
        return 128, 64, 8, 2
    return 64, 32, 8 if generation >= 12 else 4, 2


def interval_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    first: Tensor,
    end: Tensor,
    class_key: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """See :func:`kernels.block_causal_attention.reference.interval_attention`; float32 keeps its
    precision."""
    tokens, heads, head_dim = query.shape
    if (
        max(query.numel(), key.numel()) >= 2**31
    ):  # places are 32-bit numbers in the kernel, for want of registers
        raise ValueError(
            f"{max(query.numel(), key.numel())} elements are too many: pack fewer videos at once"
        )
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    first, end = first.contiguous(), end.contiguous()
    class_key = None if class_key is None else class_key.contiguous()
    output = empty_like(query)
    launch = blocks(head_dim, query.element_size(), compute_capability(query.device))
    grid = (triton.cdiv(tokens, int(launch["BLOCK_QUERIES"])), heads)
    if tokens:
        interval_attention_kernel[grid](
            query, key, value, output, first, end, first if class_key is None else class_key,
            tokens, key.shape[0], (scale or head_dim**-0.5) * _LOG2_E, heads * head_dim, heads * head_dim,
            HEAD_DIM=head_dim, HAS_CLASS=class_key is not None, **launch, **LAUNCH,
        )  # fmt: skip
    return output
