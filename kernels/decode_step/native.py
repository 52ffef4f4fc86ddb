"""One step of the gaze decoder in one call, for float32 on a CPU: the native form.

``native.c`` holds the arithmetic and says how it is laid out. It is compiled on first use, for this processor
and the sizes of the model at hand, with the compiler there is (``$CC``, cc, gcc or clang), and kept in the
user's cache folder (``$XDG_CACHE_HOME/autogaze``, by default ``~/.cache/autogaze``).
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kernels.decode_step.layers import Weights
from kernels.decode_step.reference import DecoderState

MOST_TOKENS = 16
"""Largest group: its tokens lie side by side in this many lanes."""
WIDTH_UNIT = 16
"""Channels of a head, and of the MLP, come in multiples of this."""

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("native.c", "arithmetic.h", "workers.h"))
# Contraction makes fused multiply-adds; nothing else may change what a sum is.
_FLAGS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread")


class BuildError(RuntimeError):
    """The native step cannot be built here; the message says why, and what would do."""


@dataclass(frozen=True)
class Sizes:
    """What the compiler is told about a decoder: heads, channels of each, channels of the MLP, positions of a
    group."""

    heads: int
    head_dim: int
    mlp_width: int
    group: int


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("query_key_value", "output", "gate_up", "down")]


class _Decoder(ctypes.Structure):
    """``Decoder`` of native.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in (
            "layers", "vocabulary", "batch", "slots", "chosen_width", "sequential", "threads",
        )),
        ("norm_floor", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in (
            "layer", "embedding", "heads", "rotation", "keys", "values", "length", "step_position", "fed",
            "pending", "blocked", "requirement", "budget", "taken", "finished", "chosen", "predictions",
        )),
    ]  # fmt: skip


def misfit(sizes: Sizes) -> str | None:
    """Say why decoders of these sizes are not computed; None where they are."""
    if sizes.group > MOST_TOKENS or sizes.head_dim % WIDTH_UNIT or sizes.mlp_width % WIDTH_UNIT:
        return (
            f"takes groups of up to {MOST_TOKENS}, and heads and MLPs in multiples of {WIDTH_UNIT} channels, "
            f"and the model has {sizes.group}, {sizes.head_dim} and {sizes.mlp_width}; use 'eager'"
        )
    return None


@functools.cache
def library(sizes: Sizes) -> ctypes.CDLL:
    """Return the compiled step of a decoder; builds it where that has not been done before.

    Raises:
        BuildError: if there is no compiler, or it does not take the source.
    """
    compiler = _compiler()
    defines = [
        f"-DHEADS={sizes.heads}",
        f"-DHEAD_DIM={sizes.head_dim}",
        f"-DMLP={sizes.mlp_width}",
        f"-DGROUP={sizes.group}",
    ]
    command = [*compiler, *_FLAGS, *defines]
    built = _folder() / f"decode_step-{_fingerprint(command)}.so"
    if not built.exists():
        _build(command, built)
    try:
        step = ctypes.CDLL(str(built))
    except OSError as error:
        raise BuildError(
            f"was built in {built.parent} and cannot be loaded from there ({error}); set XDG_CACHE_HOME to a "
            "folder that programs may be loaded from"
        ) from error
    step.scratch_bytes.restype = ctypes.c_int64
    step.decode_step.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    step.decode_step.restype = None
    return step


def bind(state: DecoderState, weights: Weights, sequential: bool = False) -> Callable[[], Tensor]:
    """Return a function that takes the next step of ``state``, on the memory that it and ``weights`` have
    now.

    It does and returns what :func:`kernels.decode_step.reference.step` does, but passes over videos that have
    finished: their predictions are 0. It uses as many threads as torch does.
    """
    layers, batch, heads, slots, head_dim = state.keys.shape
    group, vocabulary = state.group.shape[1], state.blocked.shape[1]
    step = library(Sizes(heads, head_dim, weights.layers[0].down.shape[1], group))
    matrices = [
        [_own(matrix) for matrix in (layer.query_key_value, layer.output, layer.gate_up, layer.down)]
        for layer in weights.layers
    ]
    embedding, prediction = _own(weights.embedding), _own(weights.heads)
    table = (_Layer * layers)(*(_Layer(*(matrix.data_ptr() for matrix in layer)) for layer in matrices))
    decoder = _Decoder(
        layers=layers, vocabulary=vocabulary, batch=batch, slots=slots,
        chosen_width=state.chosen.shape[1], sequential=sequential, norm_floor=float(weights.norm_floor),
        layer=ctypes.addressof(table), embedding=embedding.data_ptr(), heads=prediction.data_ptr(),
        fed=state.group.data_ptr(),
        **{name: getattr(state, name).data_ptr() for name in _IN_PLACE},
    )  # fmt: skip
    kept = (state, table, matrices, embedding, prediction)  # alive as long as the pointers are in use

    def take() -> Tensor:
        assert kept
        longest = int(state.length.max())
        if longest + group > slots:
            raise IndexError(f"a step of {group} tokens does not fit behind {longest} in {slots} slots")
        predictions = torch.zeros(batch, prediction.shape[0])
        scratch = torch.empty(step.scratch_bytes(batch, longest), dtype=torch.uint8)
        decoder.threads = torch.get_num_threads()
        decoder.predictions = predictions.data_ptr()
        step.decode_step(ctypes.byref(decoder), scratch.data_ptr())
        return predictions

    return take


_IN_PLACE = (
    "rotation", "keys", "values", "length", "step_position", "pending", "blocked", "requirement", "budget",
    "taken", "finished", "chosen",
)  # fmt: skip


def step(state: DecoderState, weights: Weights, sequential: bool = False) -> Tensor:
    """See :func:`kernels.decode_step.reference.step`; for many steps of one state, :func:`bind` it once."""
    return bind(state, weights, sequential)()


def _own(matrix: Tensor) -> Tensor:
    return matrix.detach().contiguous()


def _compiler() -> list[str]:
    """Return the compiler's command."""
    named = os.environ.get("CC")
    if named is not None:
        command = shlex.split(named)
        if not command or shutil.which(command[0]) is None:
            raise BuildError(
                f"needs a C compiler and CC names '{named}', which is not there; unset or correct CC"
            )
        return command
    for name in ("cc", "gcc", "clang"):
        if (found := shutil.which(name)) is not None:
            return [found]
    raise BuildError("needs a C compiler and there is none; install gcc or clang, or set CC")


def _fingerprint(command: list[str]) -> str:
    """Return a hash of all that the built library depends on, this processor included."""
    version = subprocess.run([command[0], "--version"], capture_output=True, check=False).stdout
    parts = [*(source.read_bytes() for source in _SOURCES), version, " ".join(command).encode(), _processor()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> bytes:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join(told).encode()


def _folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "autogaze"


def _build(command: list[str], built: Path) -> None:
    """Compile beside the target and rename, so that builds at the same time do not meet."""
    try:
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as folder:
            made = Path(folder) / built.name
            done = subprocess.run(
                [*command, str(_SOURCES[0]), "-o", str(made)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                complaint = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
                raise BuildError(
                    f"cannot be compiled by {command[0]} ({complaint.strip()}); install a complete gcc or "
                    "clang, or set CC"
                )
            made.replace(built)
    except OSError as error:
        raise BuildError(
            f"cannot be built in {built.parent} ({error.strerror}); make that folder writable, or set "
            "XDG_CACHE_HOME"
        ) from error
