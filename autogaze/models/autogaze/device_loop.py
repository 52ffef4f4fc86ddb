"""Generation without the host in the loop: the state lives on the device, and a frame is a few launches.

What is launched, and how many steps at once, is said by a
:class:`~autogaze.models.autogaze.frame_launches.FrameForm`. With budgets alone the host knows how many steps
there are and never waits.
"""

import torch
from torch import Tensor

from autogaze.models.autogaze.decoder import DecoderWeights, rotations
from autogaze.models.autogaze.frame_launches import Capture, FrameForm, FrameLaunches, alone
from autogaze.models.autogaze.generation import GazeRequest
from autogaze.stages import count, stage
from kernels.decode_step.state import DecoderState, begin_clip, limit_frame


class CapturedFrame:
    """Prefill and steps of a state that somebody else keeps, such as a stream's: a
    :class:`~autogaze.models.autogaze.generation.Fused`."""

    def __init__(
        self,
        state: DecoderState,
        weights: DecoderWeights,
        sequential: bool,
        form: FrameForm,
        capture: Capture,
    ) -> None:
        """Capture a prefill on the memory of ``state``, which is afterwards as it was."""
        arch = weights.arch
        self._state, self._sequential = state, sequential
        self._vision_tokens, self._group = arch.vision_tokens, arch.group
        with alone(state.keys):
            self._vision = state.keys.new_zeros(len(state.length), arch.vision_tokens, arch.width)
            self._launches = FrameLaunches(state, _copied(weights), self._vision, form, capture)

    def prefill(self, vision: Tensor) -> int:
        """See :class:`~autogaze.models.autogaze.generation.Fused`; blocks are captured at their longest."""
        with alone(vision):
            self._vision.copy_(vision)
            self._launches.begin()
        return self._vision_tokens + self._group

    def steps(self, most: int, may_end_early: bool = True) -> int:
        """See :class:`~autogaze.models.autogaze.generation.Fused`; steps taken in vain change nothing, and do
        not count. A number of steps that is launched for the first time is captured first."""
        with alone(self._state.keys):
            self._launches.steps(most, self._sequential, may_end_early)
            if not may_end_early:
                return max(most, 0)
            return int(self._state.taken.max()) // self._group - 1


class DeviceLoop:
    """State and launches for a batch size and a length; can be used for any number of calls that fit."""

    def __init__(
        self,
        weights: DecoderWeights,
        batch: int,
        slots: int,
        most: int,
        like: Tensor,
        form: FrameForm,
        capture: Capture,
    ) -> None:
        """Make room for ``slots`` tokens of each video and ``most`` gazes of a frame.

        ``like`` gives device and precision of the cache; ``form`` is how a frame is carried out, ``capture``
        how that becomes launches.
        """
        with alone(like):
            self.weights = _copied(weights)
            self.state = _empty_state(weights, batch, slots, most, like)
            self.vision = torch.zeros_like(like[:, 0], memory_format=torch.contiguous_format)
            self.form = form
            self.launches = FrameLaunches(self.state, self.weights, self.vision, form, capture)
            self._done = torch.cuda.Event() if like.is_cuda else None

    def _reset(self) -> None:
        """Start a clip. The cache too: what is masked is still multiplied, and no weight of 0 undoes a
        NaN."""
        self.state.keys.zero_()
        self.state.values.zero_()
        begin_clip(self.state)

    def run(self, weights: DecoderWeights, vision: Tensor, request: GazeRequest) -> list[Tensor]:
        """Choose patches for ``vision`` tokens (batch, frames, tokens, C); returns what ``generate`` does."""
        with alone(vision):
            if self._done is not None:  # Another stream's call may still be at it.
                torch.cuda.current_stream().wait_event(self._done)
            frames = self._run(weights, vision, request)
            if self._done is not None:
                self._done.record()
            return frames

    def _run(self, weights: DecoderWeights, vision: Tensor, request: GazeRequest) -> list[Tensor]:
        for own, given in zip(_tensors(self.weights), _tensors(weights), strict=True):
            own.copy_(given)
        self._reset()
        sequential, may_end_early = request.step_positions == "sequential", request.requirement is not None
        steps = [-(-budget // weights.arch.group) - 1 for budget in request.budgets]
        for most in dict.fromkeys(steps):
            self.launches.prepare(most, sequential, may_end_early)
        state, batch, frames = self.state, vision.shape[0], vision.shape[1]
        chosen = state.chosen.new_empty(frames, *state.chosen.shape)
        used = state.taken.new_empty(frames, batch)
        for t, budget in enumerate(request.budgets):
            with stage("gaze.prefill"):
                self.vision.copy_(vision[:, t])
                limit_frame(state, budget, request.required(t))
                self.launches.begin()
            with stage("gaze.steps"):
                self.launches.steps(steps[t], sequential, may_end_early)
            chosen[t], used[t] = state.chosen, state.taken
        slots = list(request.budgets)
        if may_end_early:
            taken = used.amax(dim=1).tolist()
            slots = [min(budget, n) for budget, n in zip(slots, taken, strict=True)]
            steps = [n // weights.arch.group - 1 for n in taken]
        if any(steps):
            count("decode_steps", sum(steps))
        return [frame[:, :n] for frame, n in zip(chosen, slots, strict=True)]


def _copied(weights: DecoderWeights) -> DecoderWeights:
    """Return weights in memory of their own, where a captured graph finds them in every call."""
    layers = tuple(type(layer)(*(_own(tensor) for tensor in layer)) for layer in weights.layers)
    return weights._replace(
        embedding=_own(weights.embedding),
        layers=layers,
        norm_floor=_own(weights.norm_floor),
        heads=_own(weights.heads),
    )


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _tensors(weights: DecoderWeights) -> list[Tensor]:
    return [weights.embedding, *(tensor for layer in weights.layers for tensor in layer), weights.heads]


def _empty_state(weights: DecoderWeights, batch: int, slots: int, most: int, like: Tensor) -> DecoderState:
    arch = weights.arch
    keys, values = like.new_zeros(2, arch.layers, batch, arch.heads, slots + 1, arch.head_dim)
    table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, slots + 1, like.device)
    return DecoderState.allocate(
        keys,
        values,
        torch.view_as_real(table).clone(),
        group=arch.group,
        vocabulary=arch.vocabulary,
        most=most,
    )
