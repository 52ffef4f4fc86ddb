"""One step of the gaze decoder, entirely on the device: the fast form.

Five launches a layer and two for the choice, each reading weights and cache once:

* ``project``: embedding or residual stream, norm, query, key and value, rotation, append to the cache;
* ``attend``: the group's queries against the cache, split along its length over the chip, so that a single
  video keeps many multiprocessors busy;
* ``combine``: partial softmaxes put together, output projection, residual;
* ``expand`` and ``contract``: norm, gate and up, SwiGLU; down, residual;
* ``predict``: last norm and both heads, split over the vocabulary;
* ``choose``: ten arg-maxes, each forbidding its choice to the next, requirement, budget and bookkeeping.

How far a video has come is read from device memory by every launch, so the same launches serve every step and
can be captured once. Tokens are computed sixteen at a time, the least a matrix unit takes; a group has ten.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.decode_step.layers import Weights
from kernels.decode_step.state import DecoderState
from kernels.numerics import product

_LOG2_E = 1.4426950408889634
_TOKENS = 16
"""Rows of a block of tokens."""


@triton.jit
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
    o_in = tl.arange(0, BLOCK_IN)
    p_in = p_stream + (i_video * GROUP + o_token) * WIDTH
    if EMBED:
        p_in = p_embedding + tl.load(p_group + i_video * GROUP + o_token, mask=m_token, other=0) * WIDTH
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    b_squares = tl.zeros([TOKENS], tl.float32)
    for i_in in range(0, WIDTH, BLOCK_IN):
        # (tokens, in)
        b_x = tl.load(p_in[:, None] + i_in + o_in[None, :], mask=m_token[:, None], other=0.0)
        # (in, out)
        b_w = tl.load(p_weight + (i_out + o_out[None, :]) * WIDTH + i_in + o_in[:, None])
        b_acc = product(b_x, b_w, b_acc, PRECISION)
        b_wide = b_x.to(tl.float32)
        b_squares += tl.sum(b_wide * b_wide, 1)
        if EMBED and i_out == 0:
            # The residual stream begins here; whoever makes the first channels writes it down.
            tl.store(
                p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH + i_in + o_in[None, :],
                b_x, mask=m_token[:, None],
            )  # fmt: skip
    floor = tl.load(p_floor)
    # The norm scales a token as a whole, so it may come after the product.
    b_acc = b_acc / tl.sqrt(b_squares + floor * floor)[:, None]

    i_part = i_out // WIDTH
    o_channel = i_out - i_part * WIDTH + o_out
    length = tl.load(p_length + i_video)
    o_slot = length + o_token
    if i_part < 2:
        start = length if SEQUENTIAL else tl.load(p_position + i_video)
        o_pair = tl.arange(0, BLOCK_OUT // 2)
        o_frequency = (i_out - i_part * WIDTH) % HEAD_DIM // 2 + o_pair
        o_frequency = o_frequency % (HEAD_DIM // 2)
        p_turn = p_rotation + ((start + o_token[:, None]) * (HEAD_DIM // 2) + o_frequency[None, :]) * 2
        b_cos = tl.load(p_turn, mask=m_token[:, None], other=0.0)
        b_sin = tl.load(p_turn + 1, mask=m_token[:, None], other=0.0)
        b_even, b_odd = tl.split(tl.reshape(b_acc, [TOKENS, BLOCK_OUT // 2, 2]))
        b_acc = tl.reshape(
            tl.join(b_even * b_cos - b_odd * b_sin, b_even * b_sin + b_odd * b_cos), [TOKENS, BLOCK_OUT]
        )
    b_made = b_acc.to(p_query.dtype.element_ty)
    if i_part == 0:
        p_out = p_query + (i_video * GROUP + o_token[:, None]) * WIDTH + o_channel[None, :]
        tl.store(p_out, b_made, mask=m_token[:, None])
    else:
        o_head = o_channel // HEAD_DIM
        o_cell = (i_video * (WIDTH // HEAD_DIM) + o_head[None, :]).to(tl.int64) * slots + o_slot[:, None]
        o_cell = o_cell * HEAD_DIM + (o_channel % HEAD_DIM)[None, :]
        if i_part == 1:
            tl.store(p_keys + o_cell, b_made, mask=m_token[:, None])
        else:
            tl.store(p_values + o_cell, b_made, mask=m_token[:, None])


@triton.jit
def attend_kernel(
    p_query, p_keys, p_values, p_length, p_finished, p_partial, p_max, p_sum, slots, scale_log2,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr,
    SPLITS: tl.constexpr,
    TOKENS: tl.constexpr, BLOCK_KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend over one stretch of the cache for one head of one video; leave an unfinished softmax."""
    i_split = tl.program_id(0)
    i_head = tl.program_id(1)
    i_video = tl.program_id(2)
    if tl.load(p_finished + i_video):
        return
    heads = WIDTH // HEAD_DIM
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < GROUP
    o_d = tl.arange(0, HEAD_DIM)
    o_k = tl.arange(0, BLOCK_KEYS)
    length = tl.load(p_length + i_video)
    end = length + GROUP
    stretch = tl.cdiv(tl.cdiv(end, BLOCK_KEYS), SPLITS) * BLOCK_KEYS
    i_first = i_split * stretch
    i_last = tl.minimum(i_first + stretch, end)
    # (tokens, head_dim)
    b_q = tl.load(
        p_query + (i_video * GROUP + o_token[:, None]) * WIDTH + i_head * HEAD_DIM + o_d[None, :],
        mask=m_token[:, None], other=0.0,
    )  # fmt: skip
    i_cache = (i_video * heads + i_head).to(tl.int64) * slots
    b_acc = tl.zeros([TOKENS, HEAD_DIM], tl.float32)
    b_max = tl.full([TOKENS], float("-inf"), tl.float32)
    b_sum = tl.zeros([TOKENS], tl.float32)
    for i_key in range(i_first, i_last, BLOCK_KEYS):
        o_slot = i_key + o_k
        m_slot = o_slot < end
        o_cell = (i_cache + o_slot) * HEAD_DIM
        # (head_dim, keys)
        b_k = tl.load(p_keys + o_cell[None, :] + o_d[:, None], mask=m_slot[None, :], other=0.0)
        b_zero = tl.zeros([TOKENS, BLOCK_KEYS], tl.float32)
        b_scores = product(b_q, b_k, b_zero, PRECISION) * scale_log2
        b_scores = tl.where(o_slot[None, :] <= length + o_token[:, None], b_scores, float("-inf"))
        b_new_max = tl.maximum(b_max, tl.max(b_scores, 1))
        b_safe = tl.where(b_new_max == float("-inf"), 0.0, b_new_max)
        b_weights = tl.exp2(b_scores - b_safe[:, None])
        b_shrink = tl.exp2(b_max - b_safe)
        # (keys, head_dim)
        b_v = tl.load(p_values + o_cell[:, None] + o_d[None, :], mask=m_slot[:, None], other=0.0)
        b_acc = product(b_weights.to(b_v.dtype), b_v, b_acc * b_shrink[:, None], PRECISION)
        b_sum = b_sum * b_shrink + tl.sum(b_weights, 1)
        b_max = b_new_max
    o_row = ((i_video * heads + i_head) * SPLITS + i_split) * TOKENS + o_token
    tl.store(p_partial + o_row[:, None] * HEAD_DIM + o_d[None, :], b_acc)
    tl.store(p_max + o_row, b_max)
    tl.store(p_sum + o_row, b_sum)


@triton.jit
def combine_kernel(
    p_stream, p_partial, p_max, p_sum, p_weight, p_finished,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, SPLITS: tl.constexpr,
    TOKENS: tl.constexpr, BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Put partial softmaxes together and add a block of their projection to the residual stream."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    o_token = tl.arange(0, TOKENS)
    m_token = o_token < GROUP
    o_d = tl.arange(0, HEAD_DIM)
    o_split = tl.arange(0, SPLITS)
    o_out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    dtype = p_stream.dtype.element_ty
    b_acc = tl.zeros([TOKENS, BLOCK_OUT], tl.float32)
    for i_head in range(WIDTH // HEAD_DIM):
        i_rows = (i_video * (WIDTH // HEAD_DIM) + i_head) * SPLITS * TOKENS
        o_row = i_rows + o_split[:, None] * TOKENS + o_token[None, :]
        # (splits, tokens)
        b_max = tl.load(p_max + o_row)
        b_share = tl.exp2(b_max - tl.max(b_max, 0)[None, :])
        b_total = tl.sum(tl.load(p_sum + o_row) * b_share, 0)
        # (splits, tokens, head_dim)
        b_parts = tl.load(p_partial + o_row[:, :, None] * HEAD_DIM + o_d[None, None, :])
        b_head = tl.sum(b_parts * b_share[:, :, None], 0) / b_total[:, None]
        # (head_dim, out)
        b_w = tl.load(p_weight + o_out[None, :] * WIDTH + i_head * HEAD_DIM + o_d[:, None])
        b_acc = product(b_head.to(dtype), b_w, b_acc, PRECISION)
    p_rows = p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH + o_out[None, :]
    b_x = tl.load(p_rows, mask=m_token[:, None], other=0.0).to(tl.float32)
    tl.store(p_rows, (b_x + b_acc.to(dtype).to(tl.float32)).to(dtype), mask=m_token[:, None])


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
    BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a block of the MLP's second product to the residual stream."""
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
    p_rows = p_stream + (i_video * GROUP + o_token[:, None]) * WIDTH + o_out[None, :]
    b_x = tl.load(p_rows, mask=m_token[:, None], other=0.0).to(tl.float32)
    tl.store(p_rows, (b_x + b_acc).to(p_stream.dtype.element_ty), mask=m_token[:, None])


@triton.jit
def predict_kernel(
    p_stream, p_heads, p_floor, p_finished, p_predictions,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, OUT: tl.constexpr, BLOCK_WIDTH: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Make a block of logits and loss predictions from the last token of one video."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    o_out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    m_out = o_out < OUT
    o_c = tl.arange(0, BLOCK_WIDTH)
    m_c = o_c < WIDTH
    dtype = p_stream.dtype.element_ty
    # (channels,)
    b_x = tl.load(p_stream + (i_video * GROUP + GROUP - 1) * WIDTH + o_c, mask=m_c, other=0.0).to(tl.float32)
    floor = tl.load(p_floor)
    b_unit = (b_x / tl.sqrt(tl.sum(b_x * b_x, 0) + floor * floor)).to(dtype).to(tl.float32)
    # (out, channels)
    b_w = tl.load(
        p_heads + o_out[:, None] * WIDTH + o_c[None, :], mask=m_out[:, None] & m_c[None, :], other=0.0
    ).to(tl.float32)
    b_made = tl.sum(b_w * b_unit[None, :], 1).to(dtype).to(tl.float32)
    tl.store(p_predictions + i_video * OUT + o_out, b_made, mask=m_out)


@triton.jit
def choose_kernel(
    p_predictions, p_blocked, p_requirement, p_budget, p_taken, p_finished, p_length, p_group, p_pending,
    p_chosen,
    GROUP: tl.constexpr, VOCABULARY: tl.constexpr, OUT: tl.constexpr, MOST: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK_VOCABULARY: tl.constexpr,
):  # fmt: skip
    """Choose the group of one video, and keep its books. One that has finished stays as it is."""
    i_video = tl.program_id(0)
    if tl.load(p_finished + i_video):
        return
    eos = VOCABULARY - 1
    o_v = tl.arange(0, BLOCK_VOCABULARY)
    m_v = o_v < VOCABULARY
    o_head = tl.arange(0, TOKENS)
    m_head = o_head < GROUP
    p_video = p_predictions + i_video * OUT
    budget = tl.load(p_budget)
    taken = tl.load(p_taken + i_video)
    # (vocabulary,)
    b_blocked = tl.load(p_blocked + i_video * VOCABULARY + o_v, mask=m_v, other=float("-inf"))
    b_positions = tl.full([TOKENS], eos, tl.int32)
    for i_head in range(GROUP):
        b_logits = tl.load(p_video + i_head * VOCABULARY + o_v, mask=m_v, other=float("-inf"))
        i_best = tl.argmax(b_logits + b_blocked, 0)
        within = taken + i_head < budget
        b_blocked = tl.where((o_v == i_best) & within, float("-inf"), b_blocked)
        b_positions = tl.where(o_head == i_head, i_best, b_positions)
    tl.store(p_blocked + i_video * VOCABULARY + o_v, b_blocked, mask=m_v)

    m_within = m_head & (taken + o_head < budget)
    b_losses = tl.load(p_video + GROUP * VOCABULARY + o_head, mask=m_head, other=float("inf"))
    m_enough = m_within & (b_losses <= tl.load(p_requirement + i_video))
    b_new = tl.where(m_within & (m_enough == 0), b_positions, eos).to(tl.int64)
    tl.store(p_group + i_video * GROUP + o_head, b_new, mask=m_head)
    tl.store(p_pending + i_video * GROUP + o_head, b_new, mask=m_head)
    tl.store(p_chosen + i_video * MOST + taken + o_head, b_new, mask=m_within)
    tl.store(p_taken + i_video, taken + GROUP)
    tl.store(p_length + i_video, tl.load(p_length + i_video) + GROUP)
    done = (tl.max(m_enough.to(tl.int32), 0) > 0) | (taken + GROUP >= budget)
    tl.store(p_finished + i_video, done)


def step(state: DecoderState, weights: Weights, sequential: bool = False) -> Tensor:
    """See :func:`kernels.decode_step.reference.step`."""
    batch, heads, slots, head_dim = state.keys.shape[1:]
    group, width = state.group.shape[1], heads * head_dim
    mlp = weights.layers[0].down.shape[1]
    out = weights.heads.shape[0]
    vocabulary = state.blocked.shape[1]
    like, device = state.keys, state.keys.device
    splits = _splits(batch * heads, device)
    precision = "tf32x3" if like.dtype == torch.float32 else "tf32"
    stream, query = like.new_empty(2, batch, group, width)
    partial = torch.empty(batch, heads, splits, _TOKENS, head_dim, device=device)
    top, total = torch.empty(2, batch, heads, splits, _TOKENS, device=device)
    hidden = like.new_empty(batch, group, mlp)
    predictions = torch.empty(batch, out, device=device)
    tile = _largest_divisor(width, 64)
    narrow, deep = _largest_divisor(width, 32), _largest_divisor(mlp, 64)
    common = {"GROUP": group, "WIDTH": width, "TOKENS": _TOKENS, "num_warps": 4}
    exact = {**common, "PRECISION": precision}
    for i, layer in enumerate(weights.layers):
        project_kernel[(batch, 3 * width // tile)](
            stream, weights.embedding, state.group, layer.query_key_value, weights.norm_floor, state.rotation,
            state.length, state.step_position, state.finished, query, state.keys[i], state.values[i], slots,
            **exact, HEAD_DIM=head_dim, EMBED=i == 0, SEQUENTIAL=sequential, BLOCK_OUT=tile, BLOCK_IN=tile,
        )  # fmt: skip
        attend_kernel[(splits, heads, batch)](
            query, state.keys[i], state.values[i], state.length, state.finished, partial, top, total, slots,
            head_dim**-0.5 * _LOG2_E, **exact, HEAD_DIM=head_dim, SPLITS=splits, BLOCK_KEYS=64,
        )  # fmt: skip
        combine_kernel[(batch, width // narrow)](
            stream, partial, top, total, layer.output, state.finished,
            **exact, HEAD_DIM=head_dim, SPLITS=splits, BLOCK_OUT=narrow,
        )  # fmt: skip
        expand_kernel[(batch, mlp // narrow)](
            stream, layer.gate_up, weights.norm_floor, state.finished, hidden,
            **exact, MLP=mlp, BLOCK_IN=tile, BLOCK_MLP=narrow,
        )  # fmt: skip
        contract_kernel[(batch, width // narrow)](
            stream, hidden, layer.down, state.finished,
            **exact, MLP=mlp, BLOCK_IN=deep, BLOCK_OUT=narrow,
        )  # fmt: skip
    predict_kernel[(batch, triton.cdiv(out, 32))](
        stream, weights.heads, weights.norm_floor, state.finished, predictions,
        GROUP=group, WIDTH=width, OUT=out, BLOCK_WIDTH=triton.next_power_of_2(width), BLOCK_OUT=32,
        num_warps=4,
    )  # fmt: skip
    choose_kernel[(batch,)](
        predictions, state.blocked, state.requirement, state.budget, state.taken, state.finished,
        state.length, state.group, state.pending, state.chosen,
        GROUP=group, VOCABULARY=vocabulary, OUT=out, MOST=state.chosen.shape[1], TOKENS=_TOKENS,
        BLOCK_VOCABULARY=triton.next_power_of_2(vocabulary), num_warps=4,
    )  # fmt: skip
    return predictions


def _splits(programs: int, device: torch.device) -> int:
    """Return into how many stretches to split the cache: enough to fill the chip, a power of two, at most
    32."""
    processors = 4
    if device.type == "cuda":
        processors = torch.cuda.get_device_properties(device).multi_processor_count
    return int(min(32, triton.next_power_of_2(triton.cdiv(4 * processors, programs))))


def _largest_divisor(length: int, most: int) -> int:
    """Return the largest power of two that divides ``length`` and is at most ``most``."""
    return min(most, length & -length)
