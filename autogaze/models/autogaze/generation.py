"""Choosing patches, frame by frame and group by group.

The decoder's sequence is, for every frame, its vision tokens and then its gazes. A frame begins with a
*prefill* (the last group of the frame before, then this frame's vision tokens), whose last hidden state
predicts a group of positions; each further group takes one *step* that feeds the group before it. The rules
are the released model's (its generation loop with transformers 4.51.3), except that a video in a batch is
given exactly what it would be given alone.

Fastest possible form: a step at batch 1 must read the weights (13 MB in fp32) and the cache (up to 44 MB for
16 frames at full budget) once. So nothing is copied, masks are windows of one table, and the last layer
computes its last token only.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.models.autogaze.cache import KeyValueCache, Placement
from autogaze.models.autogaze.decoder import DecoderWeights, decode, predict, rotations
from autogaze.stages import count, stage

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


def generate(
    weights: DecoderWeights, vision: Tensor, request: GazeRequest, attention: str = "sdpa"
) -> list[Tensor]:
    """Choose patches for ``vision`` tokens (batch, frames, tokens, C), with the attention backend of that
    name.

    Returns for each frame (batch, slots) patch indices, EOS where a slot is padded.
    """
    generation = _Generation(weights, vision, request, attention)
    return [generation.frame(t) for t in range(vision.shape[1])]


def choose_group(logits: Tensor, blocked: Tensor, positions: int, temperature: float | None = None) -> Tensor:
    """Choose ``positions`` distinct indices, one a head: each head's best among those still open.

    ``logits`` (batch, heads, vocabulary) float32; ``blocked`` (batch, vocabulary) is -inf for an index that
    may not be chosen and 0 for others, and is updated in place. Returns (batch, positions) int64.
    """
    scores = logits[:, :positions] + blocked[:, None]
    chosen = []
    for head in range(positions):
        if temperature is None:
            index = scores[:, head].argmax(dim=-1, keepdim=True)
        else:
            index = torch.multinomial((scores[:, head] / temperature).softmax(dim=-1), 1)
        scores.scatter_(2, index[:, None].expand(-1, positions, 1), float("-inf"))
        chosen.append(index)
    group = torch.cat(chosen, dim=1)
    blocked.scatter_(1, group, float("-inf"))
    return group


class _Generation:
    """The state of one call: the cache, how far each video has come, and the groups that are not in the cache
    yet."""

    def __init__(self, weights: DecoderWeights, vision: Tensor, request: GazeRequest, attention: str) -> None:
        arch = weights.arch
        batch, frames, tokens, _ = vision.shape
        capacity = sum(request.budgets) + frames * tokens + arch.group
        self.arch, self.weights, self.vision, self.request = arch, weights, vision, request
        self.cache = KeyValueCache(arch, batch, capacity, tokens + arch.group, vision, attention)
        self.rotations = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, capacity, vision.device)
        self.lengths = [0] * batch
        """Slots of the cache that each video has filled."""
        self.pending = torch.empty(batch, 0, dtype=torch.int64, device=vision.device)
        """(batch, tokens) last group of the frame before, real gazes to the right."""
        self.pending_gazes = [0] * batch
        """Real gazes in each row of ``pending``."""

    def frame(self, t: int) -> Tensor:
        """Choose the patches of frame ``t``: (batch, slots) indices, EOS where padded."""
        eos, budget = self.arch.eos, self.request.budgets[t]
        with stage("gaze.prefill"):
            hidden, step_rotation = self._prefill(self.vision[:, t])
        blocked = hidden.new_zeros(len(self.lengths), self.arch.vocabulary, dtype=torch.float32)
        blocked[:, eos] = float("-inf")
        finished = [False] * len(self.lengths)
        groups: list[Tensor] = []
        slots = 0
        with stage("gaze.steps"):
            while True:
                logits, losses = predict(hidden, self.weights)
                group = choose_group(
                    logits, blocked, min(self.arch.group, budget - slots), self.request.temperature
                )
                slots += group.shape[1]
                group, finished = self._apply_requirement(t, group, losses, finished, first=not groups)
                groups.append(group)
                if slots == budget or all(finished):
                    return torch.cat(groups, dim=1)
                hidden = self._step(group, step_rotation, finished)

    def _apply_requirement(
        self, t: int, group: Tensor, losses: Tensor, finished: list[bool], *, first: bool
    ) -> tuple[Tensor, list[bool]]:
        """Replace by EOS what is not needed, and tell which videos have finished the frame.

        A head that predicts a loss at or below the requirement gives its position up, save the frame's very
        first head; heads after it keep theirs. A video of which any head did so has finished.
        """
        if self.request.requirement is None:
            self.pending, self.pending_gazes = group, [group.shape[1]] * len(finished)
            return group, finished
        already = torch.tensor(finished, device=group.device)[:, None]
        enough = losses[:, : group.shape[1]] <= self.request.requirement[:, t, None]
        if first:
            enough[:, 0] = False
        group = group.masked_fill(enough | already, self.arch.eos)
        real = group != self.arch.eos
        to_the_right = group.gather(1, real.long().argsort(dim=1, stable=True))
        to_the_right = F.pad(to_the_right, (self.arch.group - group.shape[1], 0), value=self.arch.eos)
        if first:
            self.pending = to_the_right
        self.pending = torch.where(already, self.pending, to_the_right)
        gazes = real.sum(dim=1).tolist()
        self.pending_gazes = [
            old if done else new for done, old, new in zip(finished, self.pending_gazes, gazes)
        ]
        return group, (already[:, 0] | enough.any(dim=1)).tolist()

    def _prefill(self, vision: Tensor) -> tuple[Tensor, Tensor]:
        """Feed the pending gazes and a frame's vision tokens (batch, tokens, C).

        Returns the last hidden state (batch, C) and the rotation for the frame's steps.
        """
        widest = max(self.pending_gazes)
        pending = self.pending[:, self.pending.shape[1] - widest :]
        tokens = widest + vision.shape[1]
        placement = self.cache.place(self.lengths, tokens, [widest - gazes for gazes in self.pending_gazes])
        rotation = self._rotation(placement)
        x = torch.cat([F.embedding(pending, self.weights.embedding), vision], dim=1)
        x = decode(x, self.weights, rotation, self.cache.attention(placement), last=1)
        self.lengths = [n + gazes + vision.shape[1] for n, gazes in zip(self.lengths, self.pending_gazes)]
        count("prefill_tokens", tokens)
        return x[:, -1], rotation[:, -self.arch.group :]

    def _step(self, group: Tensor, rotation: Tensor, finished: list[bool]) -> Tensor:
        """Feed a group (batch, tokens); return the last hidden state (batch, C).

        A finished video goes along, since the batch is computed as one, but what it writes lies past its
        length.
        """
        placement = self.cache.place(self.lengths, group.shape[1], [0] * len(finished))
        if self.request.step_positions == "sequential":
            rotation = self._rotation(placement)
        x = F.embedding(group, self.weights.embedding)
        x = decode(x, self.weights, rotation, self.cache.attention(placement), last=1)
        self.lengths = [n if done else n + group.shape[1] for n, done in zip(self.lengths, finished)]
        count("decode_steps")
        return x[:, -1]

    def _rotation(self, placement: Placement) -> Tensor:
        """Return (1 or batch, tokens, head dim / 2) rotations at the slots themselves."""
        rows = self.rotations[placement.slots]
        return rows[None] if isinstance(placement.slots, slice) else rows
