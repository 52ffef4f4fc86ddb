"""Fused frames: prefill and steps of a frame by an engine that takes each in one call, over the eager
engine's state.

The form finds keys and values in the cache, through the :class:`~kernels.decode_step.reference.DecoderState`
that kernels work on, and adds its own.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.models.autogaze.state import GenerationState
from autogaze.stages import count, stage
from kernels.decode_step.reference import DecoderState


class Form(Protocol):
    """A state on a CPU and weights, bound to a form that takes a prefill, or all steps of a frame, in one
    call."""

    def prefill(self, vision: Tensor) -> object:
        """Begin a frame and prefill (:func:`kernels.decode_step.reference.begin_frame` and ``prefill``)."""

    def steps(self, most: int) -> int:
        """Take steps (:func:`kernels.decode_step.reference.step`) until all videos have finished, ``most`` at
        most; return how many."""


Bind = Callable[[DecoderState, DecoderWeights, bool], Form]
"""Binds a state and weights on the memory that they have now; told whether positions are sequential."""


class FusedFrames:
    """Frames of a state, each by two calls of a form.

    Between the calls little is done, and that in numpy: after a call the processor's caches are the form's,
    and a torch operation on ten numbers takes tens of microseconds.
    """

    def __init__(
        self, bind: Bind, weights: DecoderWeights, state: GenerationState, most: int, sequential: bool
    ) -> None:
        """Bind for frames of up to ``most`` gazes."""
        self.bound_to = (bind, weights, state.cache.keys, sequential)
        self.most = most
        self._arch = weights.arch
        frame = _frame_of(weights, state, most)
        self._form = bind(frame, weights, sequential)
        self._length, self._pending, self._budget, self._requirement, self._chosen = (
            tensor.numpy()
            for tensor in (frame.length, frame.pending, frame.budget, frame.requirement, frame.chosen)
        )

    def choose(
        self, state: GenerationState, vision: Tensor, budget: int, requirement: Tensor | None
    ) -> Tensor:
        """Choose patches for the next frame, with ``vision`` tokens (batch, tokens, C), and remember it in
        the state.

        Returns (batch, slots) patch indices, EOS where a slot is padded.
        """
        group, eos, pending = self._arch.group, self._arch.eos, self._pending
        with stage("gaze.prefill"):
            self._length[:] = state.lengths
            pending[:] = eos
            pending[:, group - state.pending.shape[1] :] = state.pending.numpy()
            self._budget[...] = budget
            self._requirement[:] = -np.inf if requirement is None else requirement.numpy()
            self._form.prefill(vision)
            count("prefill_tokens", max(state.pending_gazes) + vision.shape[1])
        with stage("gaze.steps"):
            steps = self._form.steps(-(-budget // group) - 1)
            if steps:
                count("decode_steps", steps)
            real = pending != eos
            to_the_right = np.take_along_axis(pending, real.argsort(axis=1, kind="stable"), axis=1)
            state.pending, state.pending_gazes = torch.from_numpy(to_the_right), real.sum(axis=1).tolist()
            state.lengths = self._length.tolist()
            state.end_frame()
            return torch.from_numpy(self._chosen[:, : min(budget, (steps + 1) * group)].copy())

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        """A copied state has memory of its own, and is bound anew."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def bound(
    bind: Bind, weights: DecoderWeights, state: GenerationState, most: int, sequential: bool
) -> FusedFrames:
    """Return what takes the frames of ``state``, of up to ``most`` gazes; bound once as long as nothing
    changes."""
    fused: FusedFrames | None = state.fused
    wanted = (bind, weights, state.cache.keys, sequential)
    same = fused is not None and all(a is b for a, b in zip(fused.bound_to, wanted, strict=True))
    if fused is None or not same or fused.most < most:
        with torch.inference_mode(False):  # what is written to at every frame, in whatever mode that comes
            fused = state.fused = FusedFrames(bind, weights, state, most, sequential)
    return fused


def _frame_of(weights: DecoderWeights, state: GenerationState, most: int) -> DecoderState:
    """Return the state that kernels work on, over the cache of ``state``."""
    arch, batch, like = weights.arch, state.batch, state.cache.keys
    length = torch.tensor(state.lengths, dtype=torch.int32, device=like.device)

    def positions(width: int) -> Tensor:
        return torch.full((batch, width), arch.eos, device=like.device)

    return DecoderState(
        keys=like,
        values=state.cache.values,
        rotation=torch.view_as_real(state.rotations),
        length=length,
        step_position=length - arch.group,
        group=positions(arch.group),
        pending=positions(arch.group),
        blocked=like.new_empty(batch, arch.vocabulary, dtype=torch.float32),
        requirement=like.new_empty(batch, dtype=torch.float32),
        budget=torch.tensor(most, dtype=torch.int32, device=like.device),
        taken=torch.zeros_like(length),
        finished=torch.zeros(batch, dtype=torch.bool, device=like.device),
        chosen=positions((-(-most // arch.group) + 1) * arch.group),
    )
