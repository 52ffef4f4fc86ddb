"""Launches of a frame: prefill and steps on fixed memory, captured once, and how the host learns of the end.

Prefill and step have fixed shapes, update everything in place and read nothing back
(:mod:`kernels.decode_step.reference`), so they can be captured in CUDA graphs and replayed for every frame.
One graph can hold several steps: with budgets alone their number is known.

A form that takes all of a frame at once launches twice a frame, prefill and steps, whose times are told
apart. A clip of 16 frames at ratio 0.75 (20 groups a frame) then takes 32 launches instead of 320. What that
saves is an estimate that nobody has measured: with the variants before this one a step is thought to keep an
H100 busy for 55 to 60 µs. Where the host needs less for a launch, what goes away is 288 times its own work
and the gap between two graphs; where it needs more, the difference goes away too, once a step.

With a requirement the host does not know when a frame ends. The device writes to memory of the host which
videos have finished, the host reads what is a few launches old, and steps launched in vain change nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.stages import count, stage
from kernels.decode_step import reference
from kernels.decode_step.state import DecoderState
from kernels.prefill.reference import begin

LAG = 1
"""Launches that the host may be ahead of what it knows."""
FEW = 4
"""Steps of a launch where a form takes all of a frame at once, and it may end early."""

Capture = Callable[[Callable[[], object], Callable[[], None]], Callable[[], object]]
"""Turns a function into one that does the same with a single launch, given what prepares the state for a
trial."""


class Begin(Protocol):
    """A form of :func:`kernels.prefill.reference.begin`."""

    def __call__(
        self, state: DecoderState, weights: DecoderWeights, vision: Tensor, *, ended: Tensor | None
    ) -> Tensor: ...


class Step(Protocol):
    """A form of :func:`kernels.decode_step.reference.step`."""

    def __call__(
        self, state: DecoderState, weights: DecoderWeights, sequential: bool, *, ended: Tensor | None
    ) -> Tensor: ...


@dataclass(frozen=True)
class FrameForm:
    """How a frame is carried out where its launches are captured."""

    step: Step = reference.step
    begin: Begin = begin
    steps: int | None = 1
    """Steps of a launch; None for all of a frame, :data:`FEW` where it may end early."""

    def launches(self, most: int, may_end_early: bool) -> list[int]:
        """Return how many steps each launch takes, of ``most`` in all."""
        size = self.steps or (FEW if may_end_early else max(most, 1))
        whole, rest = divmod(max(most, 0), size)
        return [size] * whole + [rest] * bool(rest)


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
def alone(like: Tensor) -> Iterator[None]:
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


class Watch:
    """The host's knowledge of when every video finished its frame, :data:`LAG` launches old.

    What is launched writes to ``ended``, memory of the host (pinned where the device is a GPU); the host
    waits for a launch and reads, without a copy. Which launch it waits for, and what it makes of what it
    reads, does not depend on how fast either is.
    """

    def __init__(self, videos: int, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.ended = torch.zeros(videos, dtype=torch.int32, device="cpu", pin_memory=on_gpu)
        """(videos,) slots of the frame of each video that has finished it, else 0."""
        self._seen = self.ended.numpy()
        self._events = [torch.cuda.Event() for _ in range(LAG + 1)] if on_gpu else []
        self._steps: list[int] = []

    def begin(self) -> None:
        """A frame's prefill was launched."""
        self._steps = []
        self.launched(0)

    def launched(self, steps: int) -> None:
        """Something was launched; with it a frame has had so many ``steps``."""
        if self._events:
            self._events[len(self._steps) % (LAG + 1)].record()
        self._steps.append(steps)

    def over(self, group: int) -> bool:
        """Whether the frame had ended, :data:`LAG` launches ago, with ``group`` slots a step."""
        launch = len(self._steps) - 1 - LAG
        if launch < 0:
            return False
        if self._events:
            self._events[launch % (LAG + 1)].synchronize()
            count("host_synchronisations")
        # Launches since may have written too: what they say must not matter, or counts would vary.
        slots = self._seen
        return bool(slots.all()) and int(slots.max()) <= (self._steps[launch] + 1) * group


class FrameLaunches:
    """The launches of a frame on the memory of a state, of weights and of vision tokens (B, tokens, C)."""

    def __init__(
        self, state: DecoderState, weights: DecoderWeights, vision: Tensor, form: FrameForm, capture: Capture
    ) -> None:
        """Capture a prefill; ``state`` is afterwards as it was, but for slots that it has not filled."""
        self._state, self._weights, self._form, self._capture = state, weights, form, capture
        self._group = state.group.shape[1]
        self._watch = Watch(len(state.length), state.keys.device)
        self._begin = self._captured(lambda: form.begin(state, weights, vision, ended=self._watch.ended))
        self._steps: dict[tuple[int, bool, bool], Callable[[], object]] = {}

    def _captured(self, function: Callable[[], object]) -> Callable[[], object]:
        """Capture what writes behind what the videos have: there, trials leave something behind."""
        held = {name: tensor.clone() for name, tensor in self._state.books.items()}

        def prepare() -> None:
            for name, tensor in held.items():
                getattr(self._state, name).copy_(tensor)

        with stage("compile"):
            launch = self._capture(function, prepare)
            prepare()
        return launch

    def prepare(self, most: int, sequential: bool, may_end_early: bool) -> None:
        """Capture what :meth:`steps` will launch; what is there already is not captured again."""
        ended = self._watch.ended if may_end_early else None
        for size in dict.fromkeys(self._form.launches(most, may_end_early)):
            if (size, sequential, may_end_early) in self._steps:
                continue

            def take(size: int = size) -> None:
                for _ in range(size):
                    self._form.step(self._state, self._weights, sequential, ended=ended)

            self._steps[size, sequential, may_end_early] = self._captured(take)

    def begin(self) -> None:
        """Begin a frame: forget the one before, feed the vision tokens and choose the first group."""
        self._begin()
        count("launches")

    def steps(self, most: int, sequential: bool, may_end_early: bool) -> None:
        """Take ``most`` steps; fewer where the frame ``may_end_early`` and is known to have ended."""
        self.prepare(most, sequential, may_end_early)
        if may_end_early:
            self._watch.begin()
        taken = 0
        for size in self._form.launches(most, may_end_early):
            if may_end_early and self._watch.over(self._group):
                return
            self._steps[size, sequential, may_end_early]()
            count("launches")
            taken += size
            if may_end_early:
                self._watch.launched(taken)
