"""Generation without the host in the loop: the state lives on the device, and prefill and step are each one
launch.

Prefill and step are those of :mod:`kernels.decode_step.reference`: fixed shapes, everything updated in place,
nothing read back. So they can be captured in CUDA graphs once and replayed for every frame and group. With
budgets alone the host knows how many steps there are and never waits; with a requirement it looks at a flag
that is a few steps old, and the steps it launches in vain change nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from autogaze.models.autogaze.decoder import DecoderWeights, rotations
from autogaze.models.autogaze.generation import GazeRequest
from autogaze.stages import count, stage
from kernels.decode_step.reference import prefill
from kernels.decode_step.state import DecoderState, begin_clip, begin_frame, limit_frame

LAG = 1
"""Steps that the host may be ahead of what it knows."""

Step = Callable[[DecoderState, DecoderWeights, bool], Tensor]
Capture = Callable[[Callable[[], object], Callable[[], None]], Callable[[], object]]
"""Turns a function into one that does the same with a single launch, given what prepares the state for a
trial."""


def directly(function: Callable[[], object], prepare: Callable[[], None]) -> Callable[[], object]:
    """Capture nothing: call the function each time. For devices without graphs, and for tests."""
    return function


def in_cuda_graph(function: Callable[[], object], prepare: Callable[[], None]) -> Callable[[], object]:
    """Capture a function that works on fixed tensors of the current CUDA device; calling the result replays
    it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # Libraries choose algorithms, and kernels are compiled, in the first calls.
            prepare()
            function()
        prepare()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Other threads may allocate meanwhile, such as those that pin a data loader's memory.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        function()
    return graph.replay


@contextmanager
def _alone(like: Tensor) -> Iterator[None]:
    """Compute on the device of ``like``, untouched by the caller's gradients, autocast and inference mode.

    What is captured must not depend on how the first call came about, and its tensors outlive that call.
    """
    device = torch.cuda.device(like.device) if like.is_cuda else nullcontext()
    with (
        device,
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(like.device.type, enabled=False),
    ):
        yield


class Watch(Protocol):
    """The host's knowledge of whether every video has finished its frame."""

    def look(self, finished: Tensor) -> None:
        """Ask, without waiting, for what (batch,) ``finished`` says once all that was launched is done."""

    def known(self) -> bool:
        """Whether all had finished, at least :data:`LAG` looks ago."""

    def reset(self) -> None:
        """Forget what was known: a new frame begins."""


class HostWatch:
    """For devices that do a thing before they return."""

    def __init__(self) -> None:
        self._finished = False

    def look(self, finished: Tensor) -> None:
        self._finished = bool(finished.all())

    def known(self) -> bool:
        return self._finished

    def reset(self) -> None:
        self._finished = False


class CudaWatch:
    """Copies the flag to pinned memory behind each step, and waits only for a copy that is :data:`LAG` steps
    old."""

    def __init__(self) -> None:
        self._flags = torch.zeros(LAG + 1, dtype=torch.bool, pin_memory=True)
        self._events = [torch.cuda.Event() for _ in range(LAG + 1)]
        self._looks = 0

    def look(self, finished: Tensor) -> None:
        place = self._looks % (LAG + 1)
        self._flags[place].copy_(finished.all(), non_blocking=True)
        self._events[place].record()
        self._looks += 1

    def known(self) -> bool:
        if self._looks <= LAG:
            return False
        place = (self._looks - 1 - LAG) % (LAG + 1)
        self._events[place].synchronize()
        count("host_synchronisations")
        return bool(self._flags[place])

    def reset(self) -> None:
        self._looks = 0


class CapturedFrame:
    """Prefill and steps of a state that somebody else keeps, such as a stream's: a
    :class:`~autogaze.models.autogaze.generation.Fused`."""

    def __init__(
        self, state: DecoderState, weights: DecoderWeights, sequential: bool, step: Step, capture: Capture
    ) -> None:
        """Capture them on the memory of ``state``, which is afterwards as it was."""
        arch = weights.arch
        self._state = state
        with _alone(state.keys):
            self._weights = weights = _copied(weights)
            self._vision = state.keys.new_zeros(len(state.length), arch.vision_tokens, arch.width)
            self._watch = _watch_for(state)
            before = {name: tensor.clone() for name, tensor in vars(state).items()}
            with stage("compile"):
                self._prefill = capture(self._begin, self._reset)
                self._step = capture(lambda: step(state, weights, sequential), self._reset)
            for name, tensor in before.items():
                getattr(state, name).copy_(tensor)

    def _reset(self) -> None:
        begin_clip(self._state)

    def _begin(self) -> None:
        prefill(self._state, self._weights, self._vision)

    def prefill(self, vision: Tensor) -> int:
        """See :class:`~autogaze.models.autogaze.generation.Fused`; blocks are captured at their longest."""
        with _alone(vision):
            self._vision.copy_(vision)
            self._prefill()
        count("launches")
        return vision.shape[1] + self._weights.arch.group

    def steps(self, most: int, may_end_early: bool = True) -> int:
        """See :class:`~autogaze.models.autogaze.generation.Fused`; steps taken in vain change nothing."""
        with _alone(self._state.keys):
            return _take_steps(self._step, most, self._state, self._watch if may_end_early else None)


def _watch_for(state: DecoderState) -> Watch:
    return CudaWatch() if state.keys.is_cuda else HostWatch()


def _take_steps(step: Callable[[], object], most: int, state: DecoderState, watch: Watch | None) -> int:
    """Launch up to ``most`` steps, fewer where a ``watch`` says that all videos have finished; return how
    many."""
    if watch is not None:
        watch.reset()
    for taken in range(most):
        if watch is not None:
            watch.look(state.finished)
            if watch.known():
                return taken
        step()
        count("launches")
    return max(most, 0)


class DeviceLoop:
    """State and launches for a batch size and a length; can be used for any number of calls that fit."""

    def __init__(
        self,
        weights: DecoderWeights,
        batch: int,
        slots: int,
        most: int,
        like: Tensor,
        step: Step,
        capture: Capture,
    ) -> None:
        """Make room for ``slots`` tokens of each video and ``most`` gazes of a frame.

        ``like`` gives device and precision of the cache; ``step`` is the step's form, ``capture`` how it
        becomes a launch.
        """
        with _alone(like):
            self.weights = _copied(weights)
            self.state = _empty_state(weights, batch, slots, most, like)
            self.vision = torch.zeros_like(like[:, 0], memory_format=torch.contiguous_format)
            self.watch = _watch_for(self.state)
            self.step, self._capture = step, capture
            self._prefill = capture(self._begin_frame, self._reset)
            self._steps: dict[str, Callable[[], object]] = {}
            self._prepare_step("released")
            self._done = torch.cuda.Event() if like.is_cuda else None

    def _prepare_step(self, positions: str) -> None:
        if positions in self._steps:
            return
        sequential = positions == "sequential"
        with stage("compile"):
            self._steps[positions] = self._capture(
                lambda: self.step(self.state, self.weights, sequential), self._reset
            )

    def _reset(self) -> None:
        """Start a clip. The cache too: what is masked is still multiplied, and no weight of 0 undoes a
        NaN."""
        self.state.keys.zero_()
        self.state.values.zero_()
        begin_clip(self.state)

    def _begin_frame(self) -> None:
        begin_frame(self.state)
        prefill(self.state, self.weights, self.vision)

    def run(self, weights: DecoderWeights, vision: Tensor, request: GazeRequest) -> list[Tensor]:
        """Choose patches for ``vision`` tokens (batch, frames, tokens, C); returns what ``generate`` does."""
        with _alone(vision):
            if self._done is not None:  # Another stream's call may still be at it.
                torch.cuda.current_stream().wait_event(self._done)
            self._prepare_step(request.step_positions)
            frames = self._run(weights, vision, request)
            if self._done is not None:
                self._done.record()
            return frames

    def _run(self, weights: DecoderWeights, vision: Tensor, request: GazeRequest) -> list[Tensor]:
        for own, given in zip(_tensors(self.weights), _tensors(weights), strict=True):
            own.copy_(given)
        self._reset()
        state, batch, frames = self.state, vision.shape[0], vision.shape[1]
        chosen = state.chosen.new_empty(frames, *state.chosen.shape)
        used = state.taken.new_empty(frames, batch)
        for t, budget in enumerate(request.budgets):
            self._frame(vision[:, t], budget, request.required(t), self._steps[request.step_positions])
            chosen[t], used[t] = state.chosen, state.taken
        slots = list(request.budgets)
        if request.requirement is not None:
            slots = [min(budget, n) for budget, n in zip(slots, used.amax(dim=1).tolist(), strict=True)]
        return [frame[:, :n] for frame, n in zip(chosen, slots, strict=True)]

    def _frame(
        self, vision: Tensor, budget: int, requirement: Tensor | None, step: Callable[[], object]
    ) -> None:
        state, group = self.state, self.weights.arch.group
        with stage("gaze.prefill"):
            self.vision.copy_(vision)
            limit_frame(state, budget, requirement)
            self._prefill()
            count("launches")
        with stage("gaze.steps"):
            watch = None if requirement is None else self.watch
            if steps := _take_steps(step, -(-budget // group) - 1, state, watch):
                count("decode_steps", steps)


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
