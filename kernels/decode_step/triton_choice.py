"""Heads and choice as Triton kernels: one launch makes the predictions, one chooses and keeps the books."""

import triton
import triton.language as tl

from kernels.decode_step.triton_rows import filling_of
from kernels.dependent_launch import await_predecessor


@triton.jit
def predict_kernel(
    p_stream, p_heads, p_floor, p_finished, p_predictions,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, OUT: tl.constexpr, PREFILL: tl.constexpr,
    DEPENDENT: tl.constexpr, BLOCK_WIDTH: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Make a block of logits and loss predictions from the last of the ``ROWS`` tokens of one video."""
    i_video = tl.program_id(0)
    o_out = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    m_out = o_out < OUT
    o_c = tl.arange(0, BLOCK_WIDTH)
    m_c = o_c < WIDTH
    # (out, channels)
    p_w = p_heads + o_out[:, None] * WIDTH + o_c[None, :]
    if DEPENDENT:
        b_w = tl.load(p_w, mask=m_out[:, None] & m_c[None, :], other=0.0).to(tl.float32)
    await_predecessor(DEPENDENT)
    if not PREFILL:
        if tl.load(p_finished + i_video):
            return
    dtype = p_stream.dtype.element_ty
    # (channels,)
    b_x = tl.load(p_stream + (i_video * ROWS + ROWS - 1) * WIDTH + o_c, mask=m_c, other=0.0).to(tl.float32)
    floor = tl.load(p_floor)
    b_unit = (b_x / tl.sqrt(tl.sum(b_x * b_x, 0) + floor * floor)).to(dtype).to(tl.float32)
    if not DEPENDENT:
        b_w = tl.load(p_w, mask=m_out[:, None] & m_c[None, :], other=0.0).to(tl.float32)
    b_made = tl.sum(b_w * b_unit[None, :], 1).to(dtype).to(tl.float32)
    tl.store(p_predictions + i_video * OUT + o_out, b_made, mask=m_out)


@triton.jit
def choose_kernel(
    p_predictions, p_blocked, p_requirement, p_budget, p_taken, p_finished, p_length, p_position, p_group,
    p_pending, p_chosen, p_ended,
    GROUP: tl.constexpr, ROWS: tl.constexpr, VOCABULARY: tl.constexpr, OUT: tl.constexpr, MOST: tl.constexpr,
    PREFILL: tl.constexpr, DEPENDENT: tl.constexpr, TOKENS: tl.constexpr, BLOCK_VOCABULARY: tl.constexpr,
):  # fmt: skip
    """Choose the group of one video, and keep its books. One that has finished stays as it is; with
    ``PREFILL`` a frame begins, whatever was, and its first head may not give its position up."""
    i_video = tl.program_id(0)
    await_predecessor(DEPENDENT)
    if not PREFILL:
        if tl.load(p_finished + i_video):
            return
    eos = VOCABULARY - 1
    o_v = tl.arange(0, BLOCK_VOCABULARY)
    m_v = o_v < VOCABULARY
    o_head = tl.arange(0, TOKENS)
    m_head = o_head < GROUP
    p_video = p_predictions + i_video * OUT
    budget = tl.load(p_budget)
    fed = ROWS
    if PREFILL:
        taken = 0
        fed = ROWS - filling_of(p_pending + i_video * GROUP, GROUP, VOCABULARY - 1)
        b_blocked = tl.where(o_v < eos, 0.0, float("-inf"))
    else:
        taken = tl.load(p_taken + i_video)
        b_blocked = tl.load(p_blocked + i_video * VOCABULARY + o_v, mask=m_v, other=float("-inf"))
    # (vocabulary,) above, (heads,) below
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
    if PREFILL:
        m_enough = m_enough & (o_head > 0)
        for i_slot in range(0, MOST, BLOCK_VOCABULARY):
            o_slot = i_slot + o_v
            m_rest = (o_slot < MOST) & (o_slot >= tl.minimum(budget, GROUP))
            tl.store(
                p_chosen + i_video * MOST + o_slot, tl.full([BLOCK_VOCABULARY], eos, tl.int64), mask=m_rest
            )
    b_new = tl.where(m_within & (m_enough == 0), b_positions, eos).to(tl.int64)
    tl.debug_barrier()  # all threads have read what was pending
    tl.store(p_group + i_video * GROUP + o_head, b_new, mask=m_head)
    tl.store(p_pending + i_video * GROUP + o_head, b_new, mask=m_head)
    tl.store(p_chosen + i_video * MOST + taken + o_head, b_new, mask=m_within)
    tl.store(p_taken + i_video, taken + GROUP)
    length = tl.load(p_length + i_video) + fed
    tl.store(p_length + i_video, length)
    if PREFILL:  # a frame's groups are fed at the positions of its last vision tokens
        tl.store(p_position + i_video, length - GROUP)
    done = (tl.max(m_enough.to(tl.int32), 0) > 0) | (taken + GROUP >= budget)
    tl.store(p_finished + i_video, done)
    tl.store(p_ended + i_video, tl.where(done, taken + GROUP, 0))
