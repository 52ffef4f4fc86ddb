"""Generation: choosing patches frame by frame and group by group, and the rule that stops it.

The decoder's sequence is, for every frame, its vision tokens and then its gazes. A frame begins with a
*prefill* (the last group of the frame before, then this frame's vision tokens), whose last hidden state
predicts a group of positions; each further group takes one *step* that feeds the group before it. The rules
are the released model's (its generation loop with transformers 4.51.3), except that a video in a batch is
given exactly what it would be given alone.

What is remembered from frame to frame is a :class:`GenerationState`. An offline call takes a fresh one
through its frames (:func:`generate_frame`); a stream does the same without an end.

Fastest possible form: a step at batch 1 must read the weights (13 MB in fp32) and the cache (up to 44 MB for
16 frames at full budget) once. So nothing is copied, masks are windows of one table, and the last layer
computes its last token only.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.models.autogaze.cache import Placement
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.models.autogaze.fused_steps import Bind, bound
from autogaze.models.autogaze.state import GenerationState
from autogaze.stages import count, stage
from kernels.decode_step.layers import choose_distinct, decode, predict

StepPositions = Literal["released", "sequential"]


@dataclass(frozen=True)
class GazeRequest:
    """How many patches to choose and how."""

    budgets: tuple[int, ...]
    """Most gazes in each frame."""
    requirement: Tensor | None = None
    """(batch, frames) predicted reconstruction loss at which a frame has enough gazes; None to use the budget
    up."""
    temperature: float | None = None
    """Sample from softmax(logits / temperature) instead of taking the arg-max."""
    step_positions: StepPositions = "released"
    """``released``: every group of a frame is fed at the positions of the frame's last vision tokens, which
    is what the released loop does and its weights were trained with; ``sequential``: at its true positions.
    """

    def of(self, videos: slice) -> "GazeRequest":
        """Return the request of some videos of the batch."""
        return self if self.requirement is None else replace(self, requirement=self.requirement[videos])


def generate(
    weights: DecoderWeights,
    vision: Tensor,
    request: GazeRequest,
    attention: str = "sdpa",
    bind: Bind | None = None,
) -> list[Tensor]:
    """Choose patches for ``vision`` tokens (batch, frames, tokens, C), with the attention backend of that
    name.

    With ``bind`` prefills and steps are few calls. Returns for each frame (batch, slots) patch indices, EOS
    where a slot is padded.
    """
    state = GenerationState.allocate(weights.arch, len(vision), request.budgets, vision, attention)
    frames = enumerate(vision.unbind(1))
    return [generate_frame(weights, state, frame, request, t, bind) for t, frame in frames]


def generate_frame(
    weights: DecoderWeights,
    state: GenerationState,
    vision: Tensor,
    request: GazeRequest,
    t: int,
    bind: Bind | None = None,
) -> Tensor:
    """Choose patches for the next frame, with ``vision`` tokens (batch, tokens, C), and remember it in
    ``state``.

    ``t`` says which of the request's budgets and requirements are the frame's. With ``bind`` it is done
    in few calls, which cannot sample. Returns (batch, slots) patch indices, EOS where a slot is
    padded.
    """
    sequential = request.step_positions == "sequential"
    budget, requirement = request.budgets[t], None
    if request.requirement is not None:
        requirement = request.requirement[:, t]
    if bind is not None:
        fused = bound(bind, weights, state, max(request.budgets), sequential)
        return fused.choose(state, vision, budget, requirement)
    with stage("gaze.prefill"):
        hidden, rotation = _prefill(weights, state, vision)
    blocked = hidden.new_zeros(state.batch, weights.arch.vocabulary, dtype=torch.float32)
    blocked[:, weights.arch.eos] = float("-inf")
    finished = [False] * state.batch
    groups: list[Tensor] = []
    slots = 0
    with stage("gaze.steps"):
        while True:
            logits, losses = predict(hidden, weights, weights.arch.group)
            group = choose_group(
                logits, blocked, min(weights.arch.group, budget - slots), request.temperature
            )
            slots += group.shape[1]
            if requirement is None:
                state.pending, state.pending_gazes = group, [group.shape[1]] * state.batch
            else:
                enough = losses[:, : group.shape[1]] <= requirement[:, None]
                group, finished = _leave_out(state, group, enough, finished, weights.arch, first=not groups)
            groups.append(group)
            if slots == budget or all(finished):
                state.end_frame()
                return torch.cat(groups, dim=1)
            hidden = _step(weights, state, group, None if sequential else rotation, finished)


def choose_group(logits: Tensor, blocked: Tensor, positions: int, temperature: float | None = None) -> Tensor:
    """Choose ``positions`` distinct indices, one a head: each head's best among those still open.

    ``logits`` (batch, heads, vocabulary) float32; ``blocked`` (batch, vocabulary) is -inf for an index that
    may not be chosen and 0 for others, and is updated in place. Returns (batch, positions) int64.
    """

    scores = logits[:, :positions] + blocked[:, None]
    if temperature is None:
        group = choose_distinct(scores)
    else:
        group = choose_distinct(scores / temperature, lambda row: torch.multinomial(row.softmax(dim=-1), 1))
    blocked.scatter_(1, group, float("-inf"))
    return group


def _leave_out(
    state: GenerationState,
    group: Tensor,
    enough: Tensor,
    finished: list[bool],
    arch: Architecture,
    *,
    first: bool,
) -> tuple[Tensor, list[bool]]:
    """Replace by EOS what is not needed, and tell which videos have finished the frame.

    A head that predicts a loss at or below the requirement (``enough``) gives its position up, save the
    frame's very first head; heads after it keep theirs. A video of which any head did so has finished.
    """
    already = torch.tensor(finished, device=group.device)[:, None]
    if first:
        enough[:, 0] = False
    group = group.masked_fill(enough | already, arch.eos)
    real = group != arch.eos
    to_the_right = group.gather(1, real.long().argsort(dim=1, stable=True))
    to_the_right = F.pad(to_the_right, (arch.group - group.shape[1], 0), value=arch.eos)
    state.pending = to_the_right if first else torch.where(already, state.pending, to_the_right)
    gazes = real.sum(dim=1).tolist()
    state.pending_gazes = [
        old if done else new for done, old, new in zip(finished, state.pending_gazes, gazes)
    ]
    return group, (already[:, 0] | enough.any(dim=1)).tolist()


def _prefill(weights: DecoderWeights, state: GenerationState, vision: Tensor) -> tuple[Tensor, Tensor]:
    """Feed the pending gazes and a frame's vision tokens (batch, tokens, C).

    Returns the last hidden state (batch, C) and the rotation for the frame's steps.
    """
    widest = max(state.pending_gazes)
    pending = state.pending[:, state.pending.shape[1] - widest :]
    tokens = widest + vision.shape[1]
    placement = state.cache.place(state.lengths, tokens, [widest - gazes for gazes in state.pending_gazes])
    rotation = _rotation(state, placement)
    x = torch.cat([F.embedding(pending, weights.embedding), vision], dim=1)
    x = decode(x, weights, weights.arch.heads, rotation, state.cache.attention(placement), last=1)
    state.lengths = [n + gazes + vision.shape[1] for n, gazes in zip(state.lengths, state.pending_gazes)]
    count("prefill_tokens", tokens)
    return x[:, -1], rotation[:, -weights.arch.group :]


def _step(
    weights: DecoderWeights,
    state: GenerationState,
    group: Tensor,
    rotation: Tensor | None,
    finished: list[bool],
) -> Tensor:
    """Feed a group (batch, tokens), at its true positions unless a ``rotation`` is given; return the last
    hidden state (batch, C).

    A finished video goes along, since the batch is computed as one, but what it writes lies past its length.
    """
    placement = state.cache.place(state.lengths, group.shape[1], [0] * state.batch)
    if rotation is None:
        rotation = _rotation(state, placement)
    x = F.embedding(group, weights.embedding)
    x = decode(x, weights, weights.arch.heads, rotation, state.cache.attention(placement), last=1)
    state.lengths = [n if done else n + group.shape[1] for n, done in zip(state.lengths, finished)]
    count("decode_steps")
    return x[:, -1]


def _rotation(state: GenerationState, placement: Placement) -> Tensor:
    """Return (1 or batch, tokens, head dim / 2) rotations at the slots themselves."""
    rows = state.rotations[placement.slots]
    return rows[None] if isinstance(placement.slots, slice) else rows
