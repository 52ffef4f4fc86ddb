"""Rows of a video that a program computes: the group of a step, or a block of a prefill's tokens.

A prefill's tokens are the pending group, with what is padded of it in front, and then the frame's vision
tokens. The padding is filling: it takes no slot, and in a first frame would lie before the cache.
"""

import triton
import triton.language as tl

LEAST_ROWS: tl.constexpr = tl.constexpr(16)
"""The least rows that a matrix unit takes: a group, or the last rows of a prefill, of which one is wanted."""


@triton.jit
def block_rows(i_block, ROWS: tl.constexpr, TOKENS: tl.constexpr, LAST: tl.constexpr):
    """Return the (tokens,) rows of a video's ``i_block``-th block; of its ``LAST`` rows where only these are
    wanted."""
    o_row = i_block * TOKENS + tl.arange(0, TOKENS)
    if LAST:
        o_row += ROWS - TOKENS
    return o_row


@triton.jit
def filling_of(p_pending, GROUP: tl.constexpr, EOS: tl.constexpr):
    """Return how many of a pending group are padding, and take no slot."""
    o_place = tl.arange(0, LEAST_ROWS)
    b_pending = tl.load(p_pending + o_place, mask=o_place < GROUP, other=EOS)
    return GROUP - tl.sum((b_pending != EOS).to(tl.int32), 0)


@triton.jit
def pushed_right(p_pending, o_row, filling, GROUP: tl.constexpr, EOS: tl.constexpr):
    """Return for each of (tokens,) rows the token of the pending group that is fed there, its padding moved
    to the front; any token for other rows."""
    o_place = tl.arange(0, LEAST_ROWS)
    b_pending = tl.load(p_pending + o_place, mask=o_place < GROUP, other=EOS)
    m_real = b_pending != EOS
    o_goal = tl.where(m_real, filling + tl.cumsum(m_real.to(tl.int32), 0) - 1, -1)
    # (tokens, places)
    return tl.sum(tl.where(o_goal[None, :] == o_row[:, None], b_pending[None, :], 0), 1)
