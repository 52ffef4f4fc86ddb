"""One step of the gaze decoder, entirely on the device: the definition.

A step feeds the group of positions chosen before, and chooses the next. Everything that changes lives in
:class:`DecoderState`, in tensors of fixed shape that are updated in place, and nothing is ever read back: so
a step can be captured in a CUDA graph, and launched again without waiting for the one before.

The rules are those of ``autogaze.models.autogaze.generation``, which is the algorithm; this is its form for
machines.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels.decode_step.layers import Weights, choose_distinct, decode, predict


@dataclass
class DecoderState:
    """A batch of videos on their way through their frames. B videos, G positions a group, S slots of
    cache."""

    keys: Tensor
    """(layers, B, heads, S + 1, head_dim); the last slot takes what is not kept."""
    values: Tensor
    rotation: Tensor
    """(S, head_dim / 2, 2) float32: cosine and sine of every position and rotary pair."""
    length: Tensor
    """(B,) int32: slots of the cache that are filled."""
    step_position: Tensor
    """(B,) int32: rotary position of the first token of a step; of no use where steps go by their slots."""
    group: Tensor
    """(B, G) int64: what the next step feeds; EOS where a position was given up."""
    pending: Tensor
    """(B, G) int64: the last group of each video's frame, which the next prefill feeds."""
    blocked: Tensor
    """(B, vocabulary) float32: -inf for positions that may not be chosen in this frame, else 0."""
    requirement: Tensor
    """(B,) float32: predicted loss at which this frame has enough gazes; -inf for never."""
    budget: Tensor
    """() int32: most gazes in this frame."""
    taken: Tensor
    """(B,) int32: slots of this frame that each video has used; the same for all that have not finished."""
    finished: Tensor
    """(B,) bool: videos that have finished this frame."""
    chosen: Tensor
    """(B, most slots of a frame, rounded up to G, and G more) int64: this frame's slots, EOS where padded."""

    @property
    def eos(self) -> int:
        return self.blocked.shape[1] - 1


def begin_frame(state: DecoderState) -> None:
    """Forget the frame before: nothing is chosen, blocked or finished. Its last group stays pending."""
    state.blocked.zero_()
    state.blocked[:, -1] = float("-inf")
    state.taken.zero_()
    state.finished.zero_()
    state.chosen.fill_(state.eos)


def prefill(state: DecoderState, weights: Weights, vision: Tensor) -> None:
    """Feed the pending groups and a frame's ``vision`` tokens (B, tokens, C), and choose the frame's first
    group."""
    group = state.pending.shape[1]
    real = state.pending != state.eos
    pending = state.pending.gather(1, real.long().argsort(dim=1, stable=True))  # real gazes to the right
    skip = group - real.sum(dim=1, dtype=torch.int32)
    index = torch.arange(group + vision.shape[1], device=vision.device)
    slots = (state.length - skip)[:, None] + index
    kept = slots.masked_fill(index < skip[:, None], state.keys.shape[3] - 1)
    x = torch.cat([F.embedding(pending, weights.embedding), vision], dim=1)
    hidden = _decode(state, weights, x, slots, kept, state.rotation[slots.clamp(min=0)])
    state.length += group - skip + vision.shape[1]
    state.step_position.copy_(state.length - group)
    choose(state, weights, hidden, first=True)


def step(state: DecoderState, weights: Weights, sequential: bool = False) -> Tensor:
    """Feed the group chosen before and choose the next. A video that has finished the frame stays as it is.

    Returns what the choice was made from: (B, group * vocabulary + group) float32 logits and loss
    predictions.
    """
    group = state.group.shape[1]
    index = torch.arange(group, device=state.group.device)
    slots = state.length[:, None] + index
    positions = slots if sequential else state.step_position[:, None] + index
    x = F.embedding(state.group, weights.embedding)
    hidden = _decode(state, weights, x, slots, slots, state.rotation[positions])
    state.length += group * (~state.finished)
    return choose(state, weights, hidden, first=False)


def choose(state: DecoderState, weights: Weights, hidden: Tensor, first: bool) -> Tensor:
    """Choose a group from the hidden states (B, C) of the last token, and stop the videos that have enough.

    Returns the predictions it was chosen from.
    """
    group = state.group.shape[1]
    logits, losses = predict(hidden, weights, group)
    slots = state.taken[:, None] + torch.arange(group, device=hidden.device)  # (B, G)
    within = slots < state.budget
    positions = choose_distinct(logits + state.blocked[:, None])
    # Finished videos, and heads beyond the budget, choose nothing: what they would have chosen stays open.
    closed = positions.masked_fill(~within | state.finished[:, None], state.eos)
    state.blocked.scatter_(1, closed, float("-inf"))
    enough = (losses <= state.requirement[:, None]) & within
    if first:
        enough[:, 0] = False
    given_up = enough | ~within | state.finished[:, None]
    state.group.copy_(positions.masked_fill(given_up, state.eos))
    # A finished video, and heads beyond the budget, write EOS over EOS: there always is room for a group.
    state.chosen.scatter_(1, slots.clamp(max=state.chosen.shape[1] - 1), state.group)
    going_on = ~state.finished
    state.pending.copy_(torch.where(going_on[:, None], state.group, state.pending))
    state.taken += group * going_on
    state.finished |= enough.any(dim=1) | (state.taken >= state.budget)
    return torch.cat([logits.flatten(1), losses], dim=1)


def _decode(
    state: DecoderState, weights: Weights, x: Tensor, slots: Tensor, kept: Tensor, rotation: Tensor
) -> Tensor:
    """Run the layers on (B, tokens, C) embeddings at (B, tokens) slots; return the last hidden states (B, C).

    ``rotation`` (B, tokens, head_dim / 2, 2). Every slot of the cache is read and most are masked out, since
    how many are filled is known on the device only.
    """
    heads, capacity, head_dim = state.keys.shape[2:]
    # What fills a block up lies before slot 0 in a first frame; it too must see something, or its rows are
    # NaN.
    visible = torch.arange(capacity, device=x.device) <= slots.clamp(min=0)[..., None]
    bias = x.new_zeros(visible.shape).masked_fill(~visible, float("-inf"))[:, None]
    where = kept.long()[:, None, :, None].expand(-1, heads, -1, head_dim)

    def attention(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = (
            state.keys[layer].scatter_(2, where, key),
            state.values[layer].scatter_(2, where, value),
        )
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=bias[:, :, -query.shape[2] :])

    return decode(x, weights, heads, torch.view_as_complex(rotation), attention, last=1)[:, -1]
