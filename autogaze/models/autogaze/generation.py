"""Generation of gazes on the host: frame by frame, and step by step until a frame has enough.

What a prefill and a step do, and what they choose, is defined in :mod:`kernels.decode_step.reference`; here
they are taken one after the other. What is remembered from frame to frame is a :class:`GenerationState`. An
offline call takes a fresh one through its frames (:func:`generate`); a stream does the same without an end.

Fastest possible form: a step at batch 1 must read the weights (13 MB in fp32) and the cache (up to 44 MB for
16 frames at full budget) once. So nothing is copied, only filled slots are read, masks are windows of one
table, and the last layer computes its last token only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.models.autogaze.state import GenerationState
from autogaze.stages import count, stage
from kernels.decode_step.layers import Pick, best
from kernels.decode_step.reference import prefill, step
from kernels.decode_step.state import DecoderState, begin_frame, limit_frame

StepPositions = Literal["released", "sequential"]


class Fused(Protocol):
    """State and weights bound to code that takes a prefill, or all the steps of a frame, in one call."""

    def prefill(self, vision: Tensor) -> int:
        """Do what :func:`kernels.decode_step.reference.prefill` does; return the tokens of the longest
        block."""

    def steps(self, most: int, may_end_early: bool = True) -> int:
        """Take the steps of each video until it has finished, ``most`` at most; return the most taken.

        Not ``may_end_early`` says that only budgets end a frame, so that nobody need look.
        """


Bind = Callable[[DecoderState, DecoderWeights, bool], Fused]
"""Binds a state and weights on the memory that they have now; told whether positions are sequential."""


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

    def required(self, t: int) -> Tensor | None:
        """Return the (batch,) requirements of frame ``t``; None where there are none."""
        return None if self.requirement is None else self.requirement[:, t]


def generate(
    weights: DecoderWeights,
    vision: Tensor,
    request: GazeRequest,
    attention: str = "sdpa",
    bind: Bind | None = None,
) -> list[Tensor]:
    """Choose patches for ``vision`` tokens (batch, frames, tokens, C), with the attention backend of that
    name.

    With ``bind`` a frame takes two calls. Returns for each frame (batch, slots) patch indices, EOS
    where a slot is padded.
    """
    state = GenerationState.allocate(
        weights.arch, len(vision), request.budgets, vision, attention,
        filled=request.requirement is None,
        clean=bind is None and len(vision) > 1,  # other caches are filled without gaps before they are read
    )  # fmt: skip
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

    ``t`` says which of the request's budgets and requirements are the frame's. With ``bind`` it takes two
    calls, which cannot sample. Returns (batch, slots) patch indices, EOS where a slot is padded.
    """
    decoder, budget, group = state.decoder, request.budgets[t], weights.arch.group
    pick = best if request.temperature is None else by_chance(request.temperature)
    sequential = request.step_positions == "sequential"
    fused = None if bind is None else cast(Fused, state.bound(bind, weights, sequential))
    with stage("gaze.prefill"):
        limit_frame(decoder, budget, request.required(t))
        begin_frame(decoder)
        if fused is not None:
            count("prefill_tokens", fused.prefill(vision))
        else:
            prefill(decoder, weights, vision, state.feed, pick)
    with stage("gaze.steps"):
        if fused is not None:
            steps = fused.steps(-(-budget // group) - 1, request.requirement is not None)
            if steps:
                count("decode_steps", steps)
        while not decoder.finished.all():
            step(decoder, weights, sequential, state.feed, pick)
            count("decode_steps")
        state.end_frame()
        return decoder.chosen[:, : min(budget, int(decoder.taken.max()))].clone()


def by_chance(temperature: float) -> Pick:
    """Return how a head picks that samples from softmax(scores / ``temperature``)."""

    def pick(scores: Tensor) -> Tensor:
        # Where nothing is open any more the budget is used up too, and no pick counts.
        nothing = scores.isneginf().all(dim=-1, keepdim=True)
        return torch.multinomial((scores / temperature).masked_fill(nothing, 0.0).softmax(dim=-1), 1)

    return pick
