"""Fused steps: a frame's steps by an engine that takes each in one call, over the eager engine's state.

The prefill has made keys and values in the cache; the form finds them there, in the
:class:`~kernels.decode_step.reference.DecoderState` that kernels work on, and adds its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.models.autogaze.state import GenerationState
from autogaze.stages import count
from kernels.decode_step import reference
from kernels.decode_step.reference import DecoderState

Bind = Callable[[DecoderState, DecoderWeights, bool], Callable[[], Tensor]]
"""Turns a state, weights and whether positions are sequential into what takes a step each time it is
called."""


def take_steps(
    bind: Bind,
    weights: DecoderWeights,
    state: GenerationState,
    hidden: Tensor,
    budget: int,
    requirement: Tensor | None,
    sequential: bool,
) -> Tensor:
    """Choose all groups of a frame whose prefill ended in ``hidden`` states (batch, C); remember it in
    ``state``.

    Returns (batch, slots) patch indices, EOS where a slot is padded.
    """
    frame = _begin(weights, state, budget, requirement)
    reference.choose(frame, weights, hidden, first=True)
    step = bind(frame, weights, sequential)
    while not frame.finished.all():
        step()
        count("decode_steps")
    real = frame.pending != weights.arch.eos
    state.pending = frame.pending.gather(1, real.long().argsort(dim=1, stable=True))
    state.pending_gazes = real.sum(dim=1).tolist()
    state.lengths = frame.length.tolist()
    state.end_frame()
    return frame.chosen[:, : min(budget, int(frame.taken.max()))]


def _begin(
    weights: DecoderWeights, state: GenerationState, budget: int, requirement: Tensor | None
) -> DecoderState:
    """Return a frame in which nothing is chosen yet, on the cache of ``state``."""
    arch, batch, like = weights.arch, state.batch, state.cache.keys
    length = torch.tensor(state.lengths, dtype=torch.int32, device=like.device)
    slots = (-(-budget // arch.group) + 1) * arch.group

    def positions(width: int) -> Tensor:
        return torch.full((batch, width), arch.eos, device=like.device)

    if requirement is None:
        requirement = like.new_full((batch,), float("-inf"))
    frame = DecoderState(
        keys=like,
        values=state.cache.values,
        rotation=torch.view_as_real(state.rotations),
        length=length,
        step_position=length - arch.group,
        group=positions(arch.group),
        pending=positions(arch.group),
        blocked=like.new_empty(batch, arch.vocabulary, dtype=torch.float32),
        requirement=requirement.float().contiguous(),
        budget=torch.tensor(budget, dtype=torch.int32, device=like.device),
        taken=torch.zeros_like(length),
        finished=torch.zeros(batch, dtype=torch.bool, device=like.device),
        chosen=positions(slots),
    )
    reference.begin_frame(frame)
    return frame
