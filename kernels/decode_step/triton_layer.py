"""A decoder layer of a decode step as five Triton kernels, each reading weights and cache once.

How far a video has come is read from device memory by every launch, so the same launches serve every step and
can be captured once. Tokens are computed sixteen at a time, the least a matrix unit takes; a group has ten.
"""

import triton
import triton.language as tl

from kernels.numerics import product


@triton.jit(do_not_specialize=["slots"])  # one compiled form for all lengths
def project_kernel(
    p_stream, p_embedding, p_group, p_weight, p_floor, p_rotation, p_length, p_position, p_finished, p_query,
    p_keys, p_values, slots,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, EMBED: tl.constexpr,
    SEQUENTIAL: tl.constexpr, TOKENS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Make one block of query, key or value channels for the group of one video."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    i_out = tl.program_id(1) * BLOCK_OUT
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < GROUP
    o_out = tl.arange(0, BLOCK_OUT)
    p_rows = p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH
    p_in = p_rows
    if EMBED:
        o_row = tl.load(p_group + i_video * GROUP + o_token, mask=m_token, other=0)
        p_in = p_embedding + o_row[:, None] * WIDTH
    # (in, out)
    p_w = p_weight + (i_out + o_out[None, :]) * WIDTH
    # The residual stream begins with the embedding; whoever makes the first channels writes it down.
    b_acc = _normed_product(
        p_in, p_w, p_rows, p_floor, m_token, EMBED and i_out == 0,
        WIDTH, TOKENS, BLOCK_OUT, BLOCK_IN, PRECISION,
    )  # fmt: skip
    i_part = i_out // WIDTH
    o_channel = i_out - i_part * WIDTH + o_out
    length = tl.load(p_length + i_video)
    if i_part < 2:
        start = length if SEQUENTIAL else tl.load(p_position + i_video)
        i_pair = (i_out - i_part * WIDTH) % HEAD_DIM // 2
        b_acc = _rotated(b_acc, p_rotation, start + o_token, i_pair, m_token, HEAD_DIM, TOKENS, BLOCK_OUT)
    b_made = b_acc.to(p_query.dtype.element_ty)
    if i_part == 0:
        p_out = p_query + (i_video * GROUP + o_token[:, None]) * WIDTH + o_channel[None, :]
        tl.store(p_out, b_made, mask=m_token[:, None])
    else:
        i_head = i_video * (WIDTH // HEAD_DIM) + o_channel[None, :] // HEAD_DIM
        o_cell = i_head.to(tl.int64) * slots + (length + o_token)[:, None]
        p_cache = p_keys if i_part == 1 else p_values
        tl.store(p_cache + o_cell * HEAD_DIM + (o_channel % HEAD_DIM)[None, :], b_made, mask=m_token[:, None])


@triton.jit
def _normed_product(
    p_in, p_w, p_keep, p_floor, m_token, keep,
    WIDTH: tl.constexpr, TOKENS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Return (tokens, out) float32 products of normed rows; ``keep`` also copies the rows as they are."""
    o_in = tl.arange(0, BLOCK_IN)
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    b_squares = tl.zeros([TOKENS], tl.float32)
    for i_in in range(0, WIDTH, BLOCK_IN):
        # (tokens, in)
        b_x = tl.load(p_in + i_in + o_in[None, :], mask=m_token[:, None], other=0.0)
        b_acc = product(b_x, tl.load(p_w + i_in + o_in[:, None]), b_acc, PRECISION)
        b_wide = b_x.to(tl.float32)
        b_squares += tl.sum(b_wide * b_wide, 1)
        if keep:
            tl.store(p_keep + i_in + o_in[None, :], b_x, mask=m_token[:, None])
    floor = tl.load(p_floor)
    # The norm scales a token as a whole, so it may come after the product.
    return b_acc / tl.sqrt(b_squares + floor * floor)[:, None]


@triton.jit
def _rotated(
    b_x, p_rotation, o_position, i_pair, m_token,
    HEAD_DIM: tl.constexpr, TOKENS: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Turn the channel pairs of (tokens, channels) by the rotations of their positions; the first is a head's
    pair ``i_pair``."""
    o_pair = (i_pair + tl.arange(0, BLOCK_OUT // 2)) % (HEAD_DIM // 2)
    # (tokens, pairs)
    p_turn = p_rotation + (o_position[:, None] * (HEAD_DIM // 2) + o_pair[None, :]) * 2
    b_cos = tl.load(p_turn, mask=m_token[:, None], other=0.0)
    b_sin = tl.load(p_turn + 1, mask=m_token[:, None], other=0.0)
    b_even, b_odd = tl.split(tl.reshape(b_x, [TOKENS, BLOCK_OUT // 2, 2]))
    b_turned = tl.join(b_even * b_cos - b_odd * b_sin, b_even * b_sin + b_odd * b_cos)
    return tl.reshape(b_turned, [TOKENS, BLOCK_OUT])


@triton.jit
def _stretch(end, BLOCK_KEYS: tl.constexpr, SPLITS: tl.constexpr):
    """Return the keys of one split: whole blocks, as many as it takes. They depend on the video's own length
    alone, so in a batch it gets what it gets alone, to the bit."""
    return tl.cdiv(tl.cdiv(end, BLOCK_KEYS), SPLITS) * BLOCK_KEYS


@triton.jit(do_not_specialize=["slots"])  # one compiled form for all lengths
def attend_kernel(
    p_query, p_keys, p_values, p_length, p_finished, p_partial, p_max, p_sum, p_arrived, p_attended, slots,
    scale_log2,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, SPLITS: tl.constexpr,
    TOKENS: tl.constexpr, BLOCK_KEYS: tl.constexpr, COMBINE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend over one split of the cache for one head of one video; leave an unfinished softmax. A split
    behind the last key leaves nothing. With ``COMBINE`` the program that comes last finishes its head; who
    has come is counted in ``p_arrived``, which is left at 0."""
    i_split = tl.program_id(0)
    i_video = tl.program_id(2)
    if tl.load(p_finished + i_video):
        return
    length = tl.load(p_length + i_video)
    end = length + GROUP
    stretch = _stretch(end, BLOCK_KEYS, SPLITS)
    i_first = i_split * stretch
    if i_first >= end:
        return
    i_head = i_video * (WIDTH // HEAD_DIM) + tl.program_id(1)
    o_token = tl.arange(0, TOKENS)
    o_d = tl.arange(0, HEAD_DIM)
    # (tokens, head_dim)
    b_q = tl.load(
        p_query + (i_video * GROUP + o_token[:, None]) * WIDTH + tl.program_id(1) * HEAD_DIM + o_d[None, :],
        mask=(o_token < GROUP)[:, None], other=0.0,
    )  # fmt: skip
    p_keys += i_head.to(tl.int64) * slots * HEAD_DIM
    p_values += i_head.to(tl.int64) * slots * HEAD_DIM
    b_acc = tl.zeros([TOKENS, HEAD_DIM], tl.float32)
    b_max = tl.full([TOKENS], float("-inf"), tl.float32)
    b_sum = tl.zeros([TOKENS], tl.float32)
    for i_key in range(i_first, tl.minimum(i_first + stretch, end), BLOCK_KEYS):
        b_acc, b_max, b_sum = _take_keys(
            b_acc, b_max, b_sum, b_q, p_keys, p_values, i_key, length + o_token, end, scale_log2,
            HEAD_DIM, TOKENS, BLOCK_KEYS, PRECISION,
        )  # fmt: skip
    o_row = (i_head * SPLITS + i_split) * TOKENS + o_token
    tl.store(p_partial + o_row[:, None] * HEAD_DIM + o_d[None, :], b_acc)
    tl.store(p_max + o_row, b_max)
    tl.store(p_sum + o_row, b_sum)
    if COMBINE:
        used = tl.cdiv(end, stretch)
        tl.debug_barrier()  # all threads have stored before one says so
        arrived = tl.atomic_add(p_arrived + i_head, 1, sem="acq_rel", scope="gpu")
        if arrived == used - 1:
            tl.debug_barrier()
            b_head = _in_order(
                p_partial, p_max, p_sum, i_head * SPLITS * TOKENS, used, HEAD_DIM, TOKENS
            )  # fmt: skip
            p_out = p_attended + (i_video * GROUP + o_token[:, None]) * WIDTH + tl.program_id(1) * HEAD_DIM
            tl.store(
                p_out + o_d[None, :], b_head.to(p_query.dtype.element_ty), mask=(o_token < GROUP)[:, None]
            )
            tl.store(p_arrived + i_head, 0)  # for the next layer


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
    GROUP: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, SPLITS: tl.constexpr,
    TOKENS: tl.constexpr, BLOCK_KEYS: tl.constexpr, BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Put unfinished softmaxes together and add a block of their projection to the residual stream."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    end = tl.load(p_length + i_video) + GROUP
    used = tl.cdiv(end, _stretch(end, BLOCK_KEYS, SPLITS))
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < GROUP
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
    p_rows = p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH + o_out[None, :]
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


@triton.jit
def expand_kernel(
    p_stream, p_weight, p_floor, p_finished, p_hidden,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, MLP: tl.constexpr, TOKENS: tl.constexpr,
    BLOCK_IN: tl.constexpr, BLOCK_MLP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Make a block of silu(gate) * up from the normed residual stream."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < GROUP
    o_mlp = tl.program_id(1) * BLOCK_MLP + tl.arange(0, BLOCK_MLP)
    o_in = tl.arange(0, BLOCK_IN)
    p_in = p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH + o_in[None, :]
    p_w = p_weight + o_mlp[None, :] * WIDTH + o_in[:, None]
    b_gate = tl.zeros([TOKENS, BLOCK_MLP], tl.float32)
    b_up = tl.zeros([TOKENS, BLOCK_MLP], tl.float32)
    b_squares = tl.zeros([TOKENS], tl.float32)
    for i_in in range(0, WIDTH, BLOCK_IN):
        # (tokens, in)
        b_x = tl.load(p_in + i_in, mask=m_token[:, None], other=0.0)
        # (in, mlp)
        b_gate = product(b_x, tl.load(p_w + i_in), b_gate, PRECISION)
        b_up = product(b_x, tl.load(p_w + i_in + MLP * WIDTH), b_up, PRECISION)
        b_wide = b_x.to(tl.float32)
        b_squares += tl.sum(b_wide * b_wide, 1)
    floor = tl.load(p_floor)
    b_norm = 1.0 / tl.sqrt(b_squares + floor * floor)
    b_gate = b_gate * b_norm[:, None]
    b_hidden = b_gate * tl.sigmoid(b_gate) * b_up * b_norm[:, None]
    p_out = p_hidden + (i_video * GROUP + o_token[:, None]) * MLP + o_mlp[None, :]
    tl.store(p_out, b_hidden.to(p_hidden.dtype.element_ty), mask=m_token[:, None])


@triton.jit
def contract_kernel(
    p_stream, p_hidden, p_weight, p_finished,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, MLP: tl.constexpr, TOKENS: tl.constexpr,
    BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr, ROUND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a block of the product of ``p_hidden``, MLP channels wide, to the residual stream; ``ROUND`` it
    first, as attention's is."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < GROUP
    o_out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    o_in = tl.arange(0, BLOCK_IN)
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    for i_in in range(0, MLP, BLOCK_IN):
        # (tokens, in)
        p_in = p_hidden + (i_video * GROUP + o_token[:, None]) * MLP + i_in + o_in[None, :]
        b_h = tl.load(p_in, mask=m_token[:, None], other=0.0)
        # (in, out)
        b_w = tl.load(p_weight + o_out[None, :] * MLP + i_in + o_in[:, None])
        b_acc = product(b_h, b_w, b_acc, PRECISION)
    if ROUND:
        b_acc = b_acc.to(p_stream.dtype.element_ty).to(tl.float32)
    p_rows = p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH + o_out[None, :]
    b_x = tl.load(p_rows, mask=m_token[:, None], other=0.0).to(tl.float32)
    tl.store(p_rows, (b_x + b_acc).to(p_stream.dtype.element_ty), mask=m_token[:, None])
