"""Generation of gazes, a frame and a group at a time: the definition that every engine shares or is held to.

The decoder's sequence is, for every frame, its vision tokens and then its gazes. A frame begins with a
*prefill* (the last group of the frame before, then this frame's vision tokens), whose last hidden state
predicts a group of positions; each further group takes one *step* that feeds the group before it. The rules
are the released model's (its generation loop with transformers 4.51.3), except that a video in a batch is
given exactly what it would be given alone.

Everything that changes lives in :class:`~kernels.decode_step.state.DecoderState`, in tensors of fixed shape
that are updated in place, and nothing is ever read back: so prefill and step can be captured in a CUDA graph,
and launched again without waiting for the ones before. How the layers get at the cache is left to a
:data:`Feed`: a host that may look at the state reads the slots that are filled and no others.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.decode_step.layers import Pick, Weights, best, choose_distinct, decode, predict
from kernels.decode_step.state import DecoderState


@dataclass(frozen=True)
class Block:
    """Where tokens go that are fed together, as many of each of the B videos."""

    first: Tensor
    """(B,) int32 slot of each video's first token; negative where filling lies before the cache."""
    position: Tensor
    """(B,) int32 rotary position of each video's first token."""
    filling: Tensor | None = None
    """(B,) int32 tokens at the front that even the block out and are not kept; None for none."""


Feed = Callable[[DecoderState, Weights, Tensor, Block], Tensor]
"""Runs the layers on a block's embeddings (B, tokens, C), keeps keys and values, and returns the last hidden
states (B, C)."""


def places(first: Tensor, filling: Tensor | None, tokens: int, spare: int) -> tuple[Tensor, Tensor]:
    """Return the (B, tokens) slots of a block, and where each token is written: filling goes to the spare
    slot."""
    index = torch.arange(tokens, device=first.device)
    slots = first[:, None] + index
    return slots, slots if filling is None else slots.masked_fill(index < filling[:, None], spare)


def feed_whole_cache(state: DecoderState, weights: Weights, x: Tensor, block: Block) -> Tensor:
    """A :data:`Feed` for a host that must not look: every slot is read, and what is not visible masked
    out."""
    heads, capacity = state.keys.shape[2:4]
    slots, kept = places(block.first, block.filling, x.shape[1], state.spare)
    # What fills a block up lies before slot 0 in a first frame; it too must see something, or its rows are
    # NaN.
    visible = torch.arange(capacity, device=x.device) <= slots.clamp(min=0)[..., None]
    bias = x.new_zeros(visible.shape).masked_fill(~visible, float("-inf"))[:, None]
    where = kept.long()[:, None, :, None].expand(-1, heads, -1, state.keys.shape[4])
    positions = block.position[:, None] + torch.arange(x.shape[1], device=x.device)
    rotation = torch.view_as_complex(state.rotation[positions.clamp(min=0)])

    def attention(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys = state.keys[layer].scatter_(2, where, key)
        values = state.values[layer].scatter_(2, where, value)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=bias[:, :, -query.shape[2] :])

    return decode(x, weights, heads, rotation, attention, last=1)[:, -1]


def prefill(
    state: DecoderState,
    weights: Weights,
    vision: Tensor,
    feed: Feed = feed_whole_cache,
    pick: Pick = best,
    ended: Tensor | None = None,
) -> Tensor:
    """Feed the pending groups and a frame's ``vision`` tokens (B, tokens, C); choose the frame's first group.

    Padded gazes are left out: in the cache a video's tokens lie without gaps, and a token's slot is its
    position. Returns what :func:`step` returns; ``ended`` is as there.
    """
    real = state.pending != state.eos
    to_the_right = state.pending.gather(1, real.long().argsort(dim=1, stable=True))
    filling = (~real).sum(dim=1, dtype=torch.int32)
    x = torch.cat([F.embedding(to_the_right, weights.embedding), vision], dim=1)
    first = state.length - filling
    hidden = feed(state, weights, x, Block(first, first, filling))
    state.length.copy_(first + x.shape[1])
    # Groups of a frame are fed at the positions of its last vision tokens, all of them: the released loop
    # never advances these, and its weights were trained with that.
    state.step_position.copy_(state.length - state.group.shape[1])
    return choose(state, weights, hidden, pick, first=True, ended=ended)


def step(
    state: DecoderState,
    weights: Weights,
    sequential: bool = False,
    feed: Feed = feed_whole_cache,
    pick: Pick = best,
    ended: Tensor | None = None,
) -> Tensor:
    """Feed the group chosen before and choose the next. A video that has finished the frame stays as it is:
    what it writes lies behind its length.

    ``sequential`` feeds the group at its true positions. ``ended`` is (B,) int32 in memory that the host can
    read when all that was launched is done: a video's slots if it has finished the frame, else 0. Returns
    what the choice was made from: (B, group * vocabulary + group) float32 logits and loss predictions.
    """
    x = F.embedding(state.group, weights.embedding)
    position = state.length if sequential else state.step_position
    hidden = feed(state, weights, x, Block(state.length, position))
    state.length += state.group.shape[1] * (~state.finished)
    return choose(state, weights, hidden, pick, first=False, ended=ended)


def choose(
    state: DecoderState,
    weights: Weights,
    hidden: Tensor,
    pick: Pick = best,
    *,
    first: bool,
    ended: Tensor | None = None,
) -> Tensor:
    """Choose a group from the hidden states (B, C) of the last token, and stop the videos that have enough.

    Each head picks in turn what is still open in this frame. One that predicts a loss at or below the
    requirement gives its position up, save the frame's very ``first`` head; heads after it keep theirs. A
    video of which any head did so has finished, as has one whose budget is used up. Returns the predictions
    that were chosen from.
    """
    group = state.group.shape[1]
    logits, losses = predict(hidden, weights, group)
    slots = state.taken[:, None] + torch.arange(group, device=hidden.device)  # (B, G)
    positions = choose_distinct(logits + state.blocked[:, None], pick)
    # Finished videos, and heads beyond the budget, choose nothing: what they would have chosen stays open.
    going_on = ~state.finished
    idle = (slots >= state.budget) | state.finished[:, None]
    state.blocked.scatter_(1, positions.masked_fill(idle, state.eos), float("-inf"))
    enough = (losses <= state.requirement[:, None]) & ~idle
    if first:
        enough[:, 0] = False
    state.group.copy_(positions.masked_fill_(enough | idle, state.eos))
    # They write EOS over EOS: there always is room for a group.
    state.chosen.scatter_(1, slots, state.group)
    torch.where(going_on[:, None], state.group, state.pending, out=state.pending)
    state.taken += group * going_on
    state.finished |= enough.any(dim=1) | (state.taken >= state.budget)
    if ended is not None:
        ended.copy_(state.taken * state.finished, non_blocking=True)
    return torch.cat([logits.flatten(1), losses], dim=1)
