"""Engines: interchangeable ways to carry out generation, all of which choose the same patches in float32.

``eager``: plain operations, one by one; runs everywhere and is the definition (:mod:`.generation`).
``native``: float32 on a CPU; a frame is two calls of compiled C, with attention of its own.
``graph``: the same operations on the device alone, captured in CUDA graphs; needs no Triton.
``triton``: fused kernels for the step, captured likewise.
``triton_<variant>``: the same, launched otherwise (:mod:`kernels.decode_step.variants`): to be measured.
``auto``: the best that can run, of those that are no variants.

To add one, give it a line in :data:`ENGINES`.
"""

import functools
import importlib.util
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.errors import BackendUnavailable, unknown_name
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.models.autogaze.device_loop import CapturedFrame, DeviceLoop
from autogaze.models.autogaze.frame_launches import FrameForm, Step, in_cuda_graph
from autogaze.models.autogaze.generation import Bind, Fused, GazeRequest, generate
from autogaze.stages import stage
from kernels.c_compiler import BuildError
from kernels.decode_step import native
from kernels.decode_step.layers import Weights
from kernels.decode_step.state import DecoderState
from kernels.decode_step.variants import FRAMES, STEPS, FrameVariant, measured_as

ROUND_SLOTS = 1024
"""Caches are made in steps of so many slots, so that clips of similar length share a captured loop."""
MOST_LOOPS = 4
"""Captured loops kept; each holds a cache of its own."""


Obstacle = Callable[[Architecture, torch.device, torch.dtype], str | None]


@dataclass(frozen=True)
class Engine:
    """One way to carry out generation."""

    obstacle: Obstacle
    """Says why the engine cannot run for an architecture, device and precision, and the cure; None where it
    can."""
    form: Callable[[], FrameForm] | None = None
    """Returns what is captured of a frame; None for an engine that captures nothing."""
    bind: Bind | None = None
    """Binds what takes the eager engine's frames in few calls; None for an engine that does not."""

    variant: bool = False
    """Whether it is another engine launched otherwise, to be measured; ``auto`` takes none of these."""

    @property
    def captures(self) -> bool:
        """Whether prefill and steps are captured, on a cache of which all slots are read."""
        return self.form is not None

    @property
    def samples(self) -> bool:
        """Whether it can draw positions at random."""
        return self.form is None and self.bind is None


def bind_for_stream(engine: str) -> Bind | None:
    """Return what binds the state of a stream, which is kept from call to call, to an engine that takes its
    frames in few calls; None for one that does not."""
    make_form = ENGINES[engine].form
    if make_form is None:
        return ENGINES[engine].bind

    def bind(state: DecoderState, weights: Weights, sequential: bool) -> Fused:
        return CapturedFrame(state, cast(DecoderWeights, weights), sequential, make_form(), in_cuda_graph)

    return bind


def _no_obstacle(arch: Architecture, device: torch.device, dtype: torch.dtype) -> None:
    return None


def _needs_compiler(arch: Architecture, device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cpu":
        return f"computes on the CPU and the model is on {device.type}; use 'graph' or 'triton'"
    if dtype != torch.float32:
        return f"computes float32, not {str(dtype).removeprefix('torch.')}; use 'eager'"
    sizes = native.Sizes(arch.heads, arch.head_dim, arch.mlp_width, arch.group)
    return native.misfit(sizes) or _build_obstacle(sizes)


@functools.cache
def _build_obstacle(sizes: native.Sizes) -> str | None:
    with stage("compile"):
        try:
            native.library(sizes)
        except BuildError as error:
            return f"{error}, or use 'eager'"
    return None


def _needs_cuda(arch: Architecture, device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cuda":
        return (
            f"captures CUDA graphs and the model is on {device.type}; "
            "move it to a CUDA device, or use 'eager'"
        )
    return None


def _needs_triton(arch: Architecture, device: torch.device, dtype: torch.dtype) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "needs the package triton, which is not installed; install it, or use 'graph'"
    if (obstacle := _needs_cuda(arch, device, dtype)) is not None:
        return obstacle
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "needs a GPU of compute capability 8.0 or newer; use 'graph'"
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"computes float32, float16 and bfloat16, not {str(dtype).removeprefix('torch.')}; use 'graph'"
    if arch.group > 16 or arch.head_dim & (arch.head_dim - 1) or arch.head_dim < 16:
        return (
            f"takes groups of up to 16 and heads of 16, 32, 64 or 128 channels, and the model has groups of "
            f"{arch.group} and heads of {arch.head_dim}; use 'graph'"
        )
    if arch.width % 16 or arch.mlp_width % 16:
        return (
            f"takes widths that are multiples of 16, and the model has {arch.width} and {arch.mlp_width}; "
            "use 'graph'"
        )
    return None


def _triton(variant: FrameVariant) -> FrameForm:
    from kernels.decode_step import triton
    from kernels.fitting import Fitting
    from kernels.prefill import triton as triton_prefill

    step: Step = functools.partial(triton.step, variant=variant.step)
    if variant == FrameVariant():  # the engine called triton is what a GPU has the shared memory for
        fallbacks = {name: each for name, each in STEPS.items() if not each.dependent}
        step = Fitting(
            {"triton": step}
            | {
                measured_as(name): functools.partial(triton.step, variant=each)
                for name, each in fallbacks.items()
            }
        )
    form = FrameForm(step, steps=variant.steps)
    if not variant.prefill:
        return form
    begin = functools.partial(triton_prefill.begin, dependent=variant.step.dependent)
    return replace(form, begin=begin)


def _needs_triton_for(
    variant: FrameVariant, arch: Architecture, device: torch.device, dtype: torch.dtype
) -> str | None:
    if (obstacle := _needs_triton(arch, device, dtype)) is not None or not variant.step.dependent:
        return obstacle
    from kernels import dependent_launch

    if (obstacle := dependent_launch.obstacle(device)) is not None:
        return f"{obstacle}; use 'triton' or another variant of it"
    return None


ENGINES = {
    "eager": Engine(_no_obstacle),
    "native": Engine(_needs_compiler, bind=native.NativeDecoder),
    "graph": Engine(_needs_cuda, FrameForm),
    "triton": Engine(_needs_triton, functools.partial(_triton, FrameVariant())),
    **{
        measured_as(name): Engine(
            functools.partial(_needs_triton_for, variant), functools.partial(_triton, variant), variant=True
        )
        for name, variant in FRAMES.items()
    },
}
"""Engine name to engine: from the slowest to the fastest, and variants."""


def choose_engine(
    name: str, arch: Architecture, device: torch.device, dtype: torch.dtype, *, samples: bool = False
) -> str:
    """Return the engine that ``name`` means for a model; ``samples`` says that positions are drawn at random.

    Raises ``InputError`` for an unknown name and ``BackendUnavailable`` for one that cannot run.
    """
    if name == "auto" and samples:
        return "eager"
    if name == "auto":
        ours = {each: engine for each, engine in ENGINES.items() if not engine.variant}
        return [each for each, engine in ours.items() if engine.obstacle(arch, device, dtype) is None][-1]
    if name not in ENGINES:
        raise unknown_name("engine", name, [*ENGINES, "auto"])
    obstacle = ENGINES[name].obstacle(arch, device, dtype)
    if obstacle is None and samples and not ENGINES[name].samples:
        obstacle = "takes the best position and cannot sample; use 'eager' in training"
    if obstacle is not None:
        raise BackendUnavailable(f"engine '{name}' {obstacle}")
    return name


@dataclass
class EngineRunner:
    """The captured loops of a model, the least recently used dropped first."""

    kept: OrderedDict[tuple[object, ...], DeviceLoop] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """A loop has one state: one call at a time."""

    def generate(
        self,
        engine: str,
        weights: DecoderWeights,
        vision: Tensor,
        request: GazeRequest,
        attention: str = "sdpa",
        at_once: int | None = None,
    ) -> list[Tensor]:
        """Choose patches for ``vision`` tokens (batch, frames, tokens, C).

        ``engine`` is a name as :func:`choose_engine` returns it, ``attention`` the backend on the host.
        ``at_once`` videos have a cache at the same time; None is all of them. Returns for each frame (batch,
        slots) patch indices, EOS where a slot is padded.
        """
        at_once = at_once or len(vision)
        parts = []
        for start in range(0, len(vision), at_once):
            videos = slice(start, start + at_once)
            parts.append(self._together(engine, weights, vision[videos], request.of(videos), attention))
        if len(parts) == 1:
            return parts[0]
        return [_padded_together(frame, weights.arch.eos) for frame in zip(*parts, strict=True)]

    def _together(
        self, engine: str, weights: DecoderWeights, vision: Tensor, request: GazeRequest, attention: str
    ) -> list[Tensor]:
        make_form = ENGINES[engine].form
        if make_form is None:
            return generate(weights, vision, request, attention, ENGINES[engine].bind)
        arch, (batch, frames, tokens, _) = weights.arch, vision.shape
        needed = sum(request.budgets) + frames * tokens + 2 * arch.group
        # One less, so that with its spare slot the cache has a length that fused attention likes.
        slots = -(-(needed + 1) // ROUND_SLOTS) * ROUND_SLOTS - 1
        key = (engine, batch, slots, vision.device, vision.dtype)
        with self.lock:
            loop = self.kept.pop(key, None)
            if loop is None:
                while len(self.kept) >= MOST_LOOPS:
                    self.kept.popitem(last=False)
                with stage("compile"):
                    loop = DeviceLoop(weights, batch, slots, arch.eos, vision, make_form(), in_cuda_graph)
            self.kept[key] = loop
            return loop.run(weights, vision, request)

    def remarks(self) -> list[str]:
        """Return what the engines' steps had to do otherwise on this device, each once."""
        found = (getattr(loop.form.step, "remark", None) for loop in self.kept.values())
        return list(dict.fromkeys(remark for remark in found if remark))

    def __deepcopy__(self, memo: dict[int, object]) -> "EngineRunner":
        return EngineRunner()  # A copy of the model has weights of its own, and captures anew.

    def __reduce__(self) -> tuple[type["EngineRunner"], tuple[()]]:
        return EngineRunner, ()


def _padded_together(parts: Sequence[Tensor], eos: int) -> Tensor:
    """Put (videos, slots) indices of one frame under each other, padded to the longest."""
    slots = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, slots - part.shape[1]), value=eos) for part in parts])
