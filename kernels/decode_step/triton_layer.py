"""A decoder layer without its attention as three Triton kernels, each reading weights once.

How far a video has come is read from device memory by every launch, so the same launches serve every step and
can be captured once. A step's tokens are computed sixteen at a time, the least a matrix unit takes; a group
has ten. With ``PREFILL`` they are a prefill's, in blocks, of videos that have finished the frame before.
"""

import triton
import triton.language as tl

from kernels.decode_step.triton_rows import LEAST_ROWS, block_rows, filling_of, pushed_right
from kernels.dependent_launch import await_predecessor
from kernels.numerics import product


@triton.jit(do_not_specialize=["slots"])  # one compiled form for all lengths
def project_kernel(
    p_stream, p_embedding, p_group, p_vision, p_weight, p_floor, p_rotation, p_length, p_position, p_finished,
    p_query, p_keys, p_values, slots,
    GROUP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, EOS: tl.constexpr,
    EMBED: tl.constexpr, SEQUENTIAL: tl.constexpr, PREFILL: tl.constexpr, LAST: tl.constexpr,
    DEPENDENT: tl.constexpr, TOKENS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Make one block of query, key or value channels for the ``ROWS`` tokens of one video.

    A step feeds ``p_group``. With ``PREFILL`` that is the pending group, and in front of ``p_vision``; of a
    ``LAST`` layer only the last queries are wanted.
    """
    i_video = tl.program_id(0)
    i_block = 0
    i_out = tl.program_id(1) * BLOCK_OUT
    o_out = tl.arange(0, BLOCK_OUT)
    # (in, out)
    p_w = p_weight + (i_out + o_out[None, :]) * WIDTH + tl.arange(0, BLOCK_IN)[:, None]
    b_ahead = weights_ahead(p_w, DEPENDENT)
    await_predecessor(DEPENDENT)
    if PREFILL:
        i_block = tl.program_id(2)
    elif tl.load(p_finished + i_video):
        return
    i_part = i_out // WIDTH
    if LAST:
        if (i_part == 0) & ((i_block + 1) * TOKENS <= ROWS - LEAST_ROWS):
            return
    o_token = block_rows(i_block, ROWS, TOKENS, False)
    m_token = o_token < ROWS
    length = tl.load(p_length + i_video)
    p_group += i_video * GROUP
    filling = 0
    if PREFILL:
        filling = filling_of(p_group, GROUP, EOS)
    p_rows = p_stream + (i_video * ROWS + o_token[:, None]) * WIDTH
    p_in = p_rows
    if EMBED:
        if PREFILL:
            o_row = pushed_right(p_group, o_token, filling, GROUP, EOS)
            p_seen = p_vision + (i_video * (ROWS - GROUP) + o_token[:, None] - GROUP) * WIDTH
            p_in = tl.where(o_token[:, None] < GROUP, p_embedding + o_row[:, None] * WIDTH, p_seen)
        else:
            o_row = tl.load(p_group + o_token, mask=m_token, other=0)
            p_in = p_embedding + o_row[:, None] * WIDTH
    # The residual stream begins with the embedding; whoever makes the first channels writes it down.
    b_acc = _normed_product(
        p_in, p_w, b_ahead, p_rows, p_floor, m_token, EMBED and i_out == 0,
        WIDTH, TOKENS, BLOCK_OUT, BLOCK_IN, DEPENDENT, PRECISION,
    )  # fmt: skip
    o_channel = i_out - i_part * WIDTH + o_out
    o_slot = length - filling + o_token
    m_kept = m_token
    if PREFILL:
        m_kept = m_token & (o_token >= filling)
    if i_part < 2:
        o_position = o_slot
        if not (SEQUENTIAL or PREFILL):
            o_position = tl.load(p_position + i_video) + o_token
        i_pair = (i_out - i_part * WIDTH) % HEAD_DIM // 2
        b_acc = _rotated(b_acc, p_rotation, o_position, i_pair, m_kept, HEAD_DIM, TOKENS, BLOCK_OUT)
    b_made = b_acc.to(p_query.dtype.element_ty)
    if i_part == 0:
        p_out = p_query + (i_video * ROWS + o_token[:, None]) * WIDTH + o_channel[None, :]
        tl.store(p_out, b_made, mask=m_token[:, None])
    else:
        i_head = i_video * (WIDTH // HEAD_DIM) + o_channel[None, :] // HEAD_DIM
        o_cell = i_head.to(tl.int64) * slots + o_slot[:, None]
        p_cache = p_keys if i_part == 1 else p_values
        tl.store(p_cache + o_cell * HEAD_DIM + (o_channel % HEAD_DIM)[None, :], b_made, mask=m_kept[:, None])


@triton.jit
def weights_ahead(p_w, DEPENDENT: tl.constexpr):
    """Return the first tile of weights where there is time to fetch it before others have ended, else
    nothing."""
    b_ahead = 0
    if DEPENDENT:
        b_ahead = tl.load(p_w)
    return b_ahead


@triton.jit
def _normed_product(
    p_in, p_w, b_ahead, p_keep, p_floor, m_token, keep,
    WIDTH: tl.constexpr, TOKENS: tl.constexpr, BLOCK_OUT: tl.constexpr, BLOCK_IN: tl.constexpr,
    DEPENDENT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return (tokens, out) float32 products of normed rows; ``keep`` also copies the rows as they are."""
    o_in = tl.arange(0, BLOCK_IN)
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    b_squares = tl.zeros([TOKENS], tl.float32)
    for i_in in range(0, WIDTH, BLOCK_IN):
        # (tokens, in)
        b_x = tl.load(p_in + i_in + o_in[None, :], mask=m_token[:, None], other=0.0)
        if DEPENDENT:
            b_w = b_ahead
            b_ahead = tl.load(p_w + i_in + BLOCK_IN, mask=o_in[:, None] + BLOCK_IN < WIDTH - i_in, other=0.0)
        else:
            b_w = tl.load(p_w + i_in)
        b_acc = product(b_x, b_w, b_acc, PRECISION)
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
def expand_kernel(
    p_stream, p_weight, p_floor, p_finished, p_hidden,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, MLP: tl.constexpr, PREFILL: tl.constexpr, LAST: tl.constexpr,
    DEPENDENT: tl.constexpr, TOKENS: tl.constexpr, BLOCK_IN: tl.constexpr, BLOCK_MLP: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Make a block of silu(gate) * up from the normed residual stream."""
    i_video = tl.program_id(0)
    i_block = 0
    o_mlp = tl.program_id(1) * BLOCK_MLP + tl.arange(0, BLOCK_MLP)
    o_in = tl.arange(0, BLOCK_IN)
    p_w = p_weight + o_mlp[None, :] * WIDTH + o_in[:, None]
    b_gate_ahead = weights_ahead(p_w, DEPENDENT)
    b_up_ahead = weights_ahead(p_w + MLP * WIDTH, DEPENDENT)
    await_predecessor(DEPENDENT)
    if PREFILL:
        i_block = tl.program_id(2)
    elif tl.load(p_finished + i_video):
        return
    o_token = block_rows(i_block, ROWS, TOKENS, LAST)
    m_token = o_token < ROWS
    p_in = p_stream + (i_video * ROWS + o_token[:, None]) * WIDTH + o_in[None, :]
    b_gate = tl.zeros([TOKENS, BLOCK_MLP], tl.float32)
    b_up = tl.zeros([TOKENS, BLOCK_MLP], tl.float32)
    b_squares = tl.zeros([TOKENS], tl.float32)
    for i_in in range(0, WIDTH, BLOCK_IN):
        # (tokens, in)
        b_x = tl.load(p_in + i_in, mask=m_token[:, None], other=0.0)
        # (in, mlp)
        if DEPENDENT:
            b_gate_w, b_up_w = b_gate_ahead, b_up_ahead
            m_next = o_in[:, None] + BLOCK_IN < WIDTH - i_in
            b_gate_ahead = tl.load(p_w + i_in + BLOCK_IN, mask=m_next, other=0.0)
            b_up_ahead = tl.load(p_w + i_in + BLOCK_IN + MLP * WIDTH, mask=m_next, other=0.0)
        else:
            b_gate_w = tl.load(p_w + i_in)
            b_up_w = tl.load(p_w + i_in + MLP * WIDTH)
        b_gate = product(b_x, b_gate_w, b_gate, PRECISION)
        b_up = product(b_x, b_up_w, b_up, PRECISION)
        b_wide = b_x.to(tl.float32)
        b_squares += tl.sum(b_wide * b_wide, 1)
    floor = tl.load(p_floor)
    b_norm = 1.0 / tl.sqrt(b_squares + floor * floor)
    b_gate = b_gate * b_norm[:, None]
    b_hidden = b_gate * tl.sigmoid(b_gate) * b_up * b_norm[:, None]
    p_out = p_hidden + (i_video * ROWS + o_token[:, None]) * MLP + o_mlp[None, :]
    tl.store(p_out, b_hidden.to(p_hidden.dtype.element_ty), mask=m_token[:, None])


@triton.jit
def contract_kernel(
    p_stream, p_hidden, p_weight, p_finished,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, MLP: tl.constexpr, PREFILL: tl.constexpr, LAST: tl.constexpr,
    DEPENDENT: tl.constexpr, TOKENS: tl.constexpr, BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr,
    ROUND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a block of the product of ``p_hidden``, MLP channels wide, to the residual stream; ``ROUND`` it
    first, as attention's is."""
    i_video = tl.program_id(0)
    i_block = 0
    o_out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    o_in = tl.arange(0, BLOCK_IN)
    # (in, out)
    p_w = p_weight + o_out[None, :] * MLP + o_in[:, None]
    b_ahead = weights_ahead(p_w, DEPENDENT)
    await_predecessor(DEPENDENT)
    if PREFILL:
        i_block = tl.program_id(2)
    elif tl.load(p_finished + i_video):
        return
    o_token = block_rows(i_block, ROWS, TOKENS, LAST)
    m_token = o_token < ROWS
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    for i_in in range(0, MLP, BLOCK_IN):
        # (tokens, in)
        p_in = p_hidden + (i_video * ROWS + o_token[:, None]) * MLP + i_in + o_in[None, :]
        b_h = tl.load(p_in, mask=m_token[:, None], other=0.0)
        if DEPENDENT:
            b_w = b_ahead
            b_ahead = tl.load(p_w + i_in + BLOCK_IN, mask=o_in[:, None] + BLOCK_IN < MLP - i_in, other=0.0)
        else:
            b_w = tl.load(p_w + i_in)
        b_acc = product(b_h, b_w, b_acc, PRECISION)
    if ROUND:
        b_acc = b_acc.to(p_stream.dtype.element_ty).to(tl.float32)
    p_rows = p_stream + (i_video * ROWS + o_token[:, None]) * WIDTH + o_out[None, :]
    b_x = tl.load(p_rows, mask=m_token[:, None], other=0.0).to(tl.float32)
    tl.store(p_rows, (b_x + b_acc).to(p_stream.dtype.element_ty), mask=m_token[:, None])
