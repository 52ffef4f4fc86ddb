"""Attention of a decode step and of a prefill as Triton kernels, each reading the cache once.

The cache is split along its length over the chip, so that a single video keeps many multiprocessors busy. How
far a video has come is read from device memory: what lies behind is neither read nor masked out.
"""

import triton
import triton.language as tl

from kernels.decode_step.triton_rows import block_rows, filling_of
from kernels.dependent_launch import await_predecessor
from kernels.numerics import product


@triton.jit
def _stretch(end, BLOCK_KEYS: tl.constexpr, SPLITS: tl.constexpr):
    """Return the keys of one split: whole blocks, as many as it takes. They depend on the video's own length
    alone, so in a batch it gets what it gets alone, to the bit."""
    return tl.cdiv(tl.cdiv(end, BLOCK_KEYS), SPLITS) * BLOCK_KEYS


@triton.jit(do_not_specialize=["slots"])  # one compiled form for all lengths
def attend_kernel(
    p_query, p_keys, p_values, p_length, p_pending, p_finished, p_partial, p_max, p_sum, p_arrived,
    p_attended, slots, scale_log2,
    GROUP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, EOS: tl.constexpr,
    PREFILL: tl.constexpr, LAST: tl.constexpr, DEPENDENT: tl.constexpr, BLOCKS: tl.constexpr,
    SPLITS: tl.constexpr, TOKENS: tl.constexpr, BLOCK_KEYS: tl.constexpr, COMBINE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend over one split of the cache for one head and block of rows of one video; leave an unfinished
    softmax. A split behind the last key that a block may see leaves nothing. With ``COMBINE`` the program
    that comes last finishes its head; who has come is counted in ``p_arrived``, which is left at 0."""
    i_split = tl.program_id(0) % SPLITS
    i_block = tl.program_id(0) // SPLITS
    if BLOCKS == 1:
        i_split = tl.program_id(0)
        i_block = 0
    i_video = tl.program_id(2)
    await_predecessor(DEPENDENT)
    length = tl.load(p_length + i_video)
    if PREFILL:
        length -= filling_of(p_pending + i_video * GROUP, GROUP, EOS)
    elif tl.load(p_finished + i_video):
        return
    o_token = block_rows(i_block, ROWS, TOKENS, LAST)
    m_token = o_token < ROWS
    end = length + ROWS
    if BLOCKS > 1:
        end = tl.minimum(end, length + (i_block + 1) * TOKENS)
    stretch = _stretch(end, BLOCK_KEYS, SPLITS)
    i_first = i_split * stretch
    if i_first >= end:
        return
    i_head = i_video * (WIDTH // HEAD_DIM) + tl.program_id(1)
    o_d = tl.arange(0, HEAD_DIM)
    # (tokens, head_dim)
    o_out = (i_video * ROWS + o_token[:, None]) * WIDTH + tl.program_id(1) * HEAD_DIM + o_d[None, :]
    b_q = tl.load(p_query + o_out, mask=m_token[:, None], other=0.0)
    p_keys += i_head.to(tl.int64) * slots * HEAD_DIM
    p_values += i_head.to(tl.int64) * slots * HEAD_DIM
    o_own = length + o_token
    if PREFILL:  # what fills a block up must see something too, or its rows are NaN
        o_own = tl.maximum(o_own, 0)
    b_acc = tl.zeros([TOKENS, HEAD_DIM], tl.float32)
    b_max = tl.full([TOKENS], float("-inf"), tl.float32)
    b_sum = tl.zeros([TOKENS], tl.float32)
    for i_key in range(i_first, tl.minimum(i_first + stretch, end), BLOCK_KEYS):
        b_acc, b_max, b_sum = _take_keys(
            b_acc, b_max, b_sum, b_q, p_keys, p_values, i_key, o_own, end, scale_log2,
            HEAD_DIM, TOKENS, BLOCK_KEYS, PRECISION,
        )  # fmt: skip
    i_unit = i_head * BLOCKS + i_block
    o_row = (i_unit * SPLITS + i_split) * TOKENS + tl.arange(0, TOKENS)
    tl.store(p_partial + o_row[:, None] * HEAD_DIM + o_d[None, :], b_acc)
    tl.store(p_max + o_row, b_max)
    tl.store(p_sum + o_row, b_sum)
    if COMBINE:
        used = tl.cdiv(end, stretch)
        tl.debug_barrier()  # all threads have stored before one says so
        arrived = tl.atomic_add(p_arrived + i_unit, 1, sem="acq_rel", scope="gpu")
        if arrived == used - 1:
            tl.debug_barrier()
            b_head = _in_order(
                p_partial, p_max, p_sum, i_unit * SPLITS * TOKENS, used, HEAD_DIM, TOKENS
            )  # fmt: skip
            tl.store(p_attended + o_out, b_head.to(p_query.dtype.element_ty), mask=m_token[:, None])
            tl.store(p_arrived + i_unit, 0)  # for the next layer


@triton.jit
def _in_order(p_partial, p_max, p_sum, i_row, used, HEAD_DIM: tl.constexpr, TOKENS: tl.constexpr):
    """Return a head's (tokens, head_dim) attention from its ``used`` splits, one after another, so that sums
    do not depend on who came last. Other multiprocessors wrote them: the nearest cache does not know."""
    o_token = tl.arange(0, TOKENS)
    o_d = tl.arange(0, HEAD_DIM)
    b_acc = tl.zeros([TOKENS, HEAD_DIM], tl.float32)
    b_top = tl.full([TOKENS], float("-inf"), tl.float32)
    b_total = tl.zeros([TOKENS], tl.float32)
    for i_split in range(used):
        o_row = i_row + i_split * TOKENS + o_token
        b_max = tl.load(p_max + o_row, cache_modifier=".cg")
        b_sum = tl.load(p_sum + o_row, cache_modifier=".cg")
        b_part = tl.load(p_partial + o_row[:, None] * HEAD_DIM + o_d[None, :], cache_modifier=".cg")
        # Never -inf: everybody sees the first key, and that is in the first split.
        b_new_top = tl.maximum(b_top, b_max)
        b_shrink = tl.exp2(b_top - b_new_top)
        b_weight = tl.exp2(b_max - b_new_top)
        b_acc = b_acc * b_shrink[:, None] + b_part * b_weight[:, None]
        b_total = b_total * b_shrink + b_sum * b_weight
        b_top = b_new_top
    return b_acc / b_total[:, None]


@triton.jit
def _take_keys(
    b_acc, b_max, b_sum, b_q, p_keys, p_values, i_key, o_own, end, scale_log2,
    HEAD_DIM: tl.constexpr, TOKENS: tl.constexpr, BLOCK_KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Take one block of keys, from ``i_key`` on, into the running softmax; a token sees up to its ``o_own``
    slot."""
    o_slot = i_key + tl.arange(0, BLOCK_KEYS)
    m_slot = o_slot < end
    o_d = tl.arange(0, HEAD_DIM)
    # (head_dim, keys)
    b_k = tl.load(p_keys + o_slot[None, :] * HEAD_DIM + o_d[:, None], mask=m_slot[None, :], other=0.0)
    b_scores = product(b_q, b_k, tl.zeros([TOKENS, BLOCK_KEYS], tl.float32), PRECISION) * scale_log2
    b_scores = tl.where(o_slot[None, :] <= o_own[:, None], b_scores, float("-inf"))
    b_new_max = tl.maximum(b_max, tl.max(b_scores, 1))
    b_safe = tl.where(b_new_max == float("-inf"), 0.0, b_new_max)
    b_weights = tl.exp2(b_scores - b_safe[:, None])
    b_shrink = tl.exp2(b_max - b_safe)
    # (keys, head_dim)
    b_v = tl.load(p_values + o_slot[:, None] * HEAD_DIM + o_d[None, :], mask=m_slot[:, None], other=0.0)
    b_acc = product(b_weights.to(b_v.dtype), b_v, b_acc * b_shrink[:, None], PRECISION)
    return b_acc, b_new_max, b_sum * b_shrink + tl.sum(b_weights, 1)


@triton.jit
def combine_kernel(
    p_stream, p_partial, p_max, p_sum, p_weight, p_length, p_finished,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, SPLITS: tl.constexpr,
    TOKENS: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Put unfinished softmaxes together and add a block of their projection to the residual stream."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    end = tl.load(p_length + i_video) + ROWS
    used = tl.cdiv(end, _stretch(end, BLOCK_KEYS, SPLITS))
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < ROWS
    o_d = tl.arange(0, HEAD_DIM)
    o_out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    dtype = p_stream.dtype.element_ty
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    for i_head in range(WIDTH // HEAD_DIM):
        i_row = (i_video * (WIDTH // HEAD_DIM) + i_head) * SPLITS * TOKENS
        b_head = _combined(p_partial, p_max, p_sum, i_row, used, HEAD_DIM, SPLITS, TOKENS)
        # (head_dim, out)
        b_w = tl.load(p_weight + o_out[None, :] * WIDTH + i_head * HEAD_DIM + o_d[:, None])
        b_acc = product(b_head.to(dtype), b_w, b_acc, PRECISION)
    p_rows = p_stream + (i_video * ROWS + o_token[:, None]) * WIDTH + o_out[None, :]
    b_x = tl.load(p_rows, mask=m_token[:, None], other=0.0).to(tl.float32)
    tl.store(p_rows, (b_x + b_acc.to(dtype).to(tl.float32)).to(dtype), mask=m_token[:, None])


@triton.jit
def _combined(
    p_partial, p_max, p_sum, i_row, used,
    HEAD_DIM: tl.constexpr, SPLITS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Return a head's (tokens, head_dim) attention from its ``used`` splits; the others load nothing."""
    o_split = tl.arange(0, SPLITS)[:, None]
    o_row = i_row + o_split * TOKENS + tl.arange(0, TOKENS)[None, :]
    m_row = (o_split < used) & (o_row >= 0)
    # (splits, tokens)
    b_max = tl.load(p_max + o_row, mask=m_row, other=float("-inf"))
    b_share = tl.exp2(b_max - tl.max(b_max, 0)[None, :])
    b_total = tl.sum(tl.load(p_sum + o_row, mask=m_row, other=0.0) * b_share, 0)
    # (splits, tokens, head_dim)
    o_cell = o_row[:, :, None] * HEAD_DIM + tl.arange(0, HEAD_DIM)[None, None, :]
    b_partial = tl.load(p_partial + o_cell, mask=m_row[:, :, None], other=0.0)
    return tl.sum(b_partial * b_share[:, :, None], 0) / b_total[:, None]
