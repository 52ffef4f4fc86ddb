"""The gaze decoder in compiled C, for float32 on a CPU: a prefill, or all steps of a frame, in one call.

``native.c`` holds the arithmetic and says how it is laid out. It is compiled on first use, for this processor
and the sizes of the model at hand, with the compiler there is (``$CC``, cc, gcc or clang), and kept in the
user's cache folder (``$XDG_CACHE_HOME/autogaze``, by default ``~/.cache/autogaze``). What is kept there runs
with the user's rights, so a folder that others can write to is refused.
"""

import ctypes
import functools
import hashlib
import os
import platform
import stat
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kernels.c_compiler import BuildError, find_compiler
from kernels.decode_step.layers import Weights
from kernels.decode_step.state import DecoderState

MOST_TOKENS = 16
"""Largest group: its tokens lie side by side in this many lanes."""
WIDTH_UNIT = 16
"""Channels of a head, and of the MLP, come in multiples of this."""

_SOURCES = tuple(
    Path(__file__).with_name(name)
    for name in ("native.c", "attention.h", "block.h", "arithmetic.h", "workers.h")
)
# Contraction makes fused multiply-adds; nothing else may change what a sum is. A square root that sets errno
# would be a call into libm.
_FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared", "-pthread")
_THIS_PROCESSOR: tuple[list[str], ...] = (["-march=native"], ["-mcpu=native"], [])
"""Ways to ask for all that the processor can do; compilers differ, and the last does without."""
MOST_SECONDS = 300
"""A compiler that takes longer is stuck: it needs a few."""


@dataclass(frozen=True)
class Sizes:
    """What the compiler is told about a decoder: heads, channels of each, channels of the MLP, positions of a
    group."""

    heads: int
    head_dim: int
    mlp_width: int
    group: int


_MATRICES = ("query_key_value", "output", "gate_up", "down")


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _MATRICES]


class _Decoder(ctypes.Structure):
    """``Decoder`` of native.c."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in (
            "layers", "vocabulary", "batch", "slots", "chosen_width", "sequential", "threads",
        )),
        ("norm_floor", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in (
            "layer", "embedding", "heads", "rotation", "keys", "values", "length", "step_position", "fed",
            "pending", "blocked", "requirement", "budget", "taken", "finished", "chosen", "vision",
        )),
        ("vision_stride", ctypes.c_int64),
        ("predictions", ctypes.c_void_p),
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
    """Return a decoder as compiled; builds it where that has not been done before.

    Raises:
        BuildError: if there is no compiler, or it does not take the source.
    """
    defines = [
        f"-DHEADS={sizes.heads}",
        f"-DHEAD_DIM={sizes.head_dim}",
        f"-DMLP={sizes.mlp_width}",
        f"-DGROUP={sizes.group}",
    ]
    command = [*find_compiler(), *_FLAGS, *defines]
    built = _folder() / f"decode_step-{_fingerprint(command)}.so"
    try:
        if not built.exists():
            _build(command, built)
        _require_own(built)
    except OSError as error:
        raise _no_place(built.parent, error) from error
    try:
        decoder = ctypes.CDLL(str(built))
    except OSError as error:
        raise BuildError(
            f"was built in {built.parent} and cannot be loaded from there ({error}); set XDG_CACHE_HOME to a "
            "folder that programs may be loaded from"
        ) from error
    decoder.scratch_bytes.restype = ctypes.c_int64
    for function in (decoder.prefill, decoder.decode_steps):
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
        function.restype = ctypes.c_int32
    return decoder


class NativeDecoder:
    """Prefills and steps of a state, with as many threads as torch uses."""

    def __init__(self, state: DecoderState, weights: Weights, sequential: bool = False) -> None:
        """Bind ``state`` and ``weights`` on the memory that they have now.

        Raises:
            TypeError: for tensors that are not what C takes them for.
        """
        layers, batch, heads, slots, head_dim = state.keys.shape
        self._group, self._width, self._slots = state.group.shape[1], heads * head_dim, slots
        self._library = library(Sizes(heads, head_dim, weights.layers[0].down.shape[1], self._group))
        matrices = [
            [getattr(layer, name).detach().contiguous() for name in _MATRICES] for layer in weights.layers
        ]
        embedding, prediction = (each.detach().contiguous() for each in (weights.embedding, weights.heads))
        table = (_Layer * layers)(*(_Layer(*map(_address, layer)) for layer in matrices))
        self.predictions = torch.zeros(batch, prediction.shape[0], dtype=torch.float32, device="cpu")
        """What the last choice was made from, as :func:`kernels.decode_step.reference.step` returns it; 0 of
        videos that had finished before the last :meth:`step`."""
        self._decoder = _Decoder(
            layers=layers, vocabulary=state.blocked.shape[1], batch=batch, slots=slots,
            chosen_width=state.chosen.shape[1], sequential=sequential, norm_floor=float(weights.norm_floor),
            layer=ctypes.addressof(table), embedding=_address(embedding), heads=_address(prediction),
            fed=_address(state.group, torch.int64), predictions=_address(self.predictions),
            **{name: _address(getattr(state, name), dtype) for name, dtype in _IN_PLACE.items()},
        )  # fmt: skip
        self._length = state.length
        self._kept = (state, table, matrices, embedding, prediction)  # alive as long as their addresses
        self._scratch = torch.empty(0, dtype=torch.uint8, device="cpu")
        self._scratch_tokens = 0

    def prefill(self, vision: Tensor) -> int:
        """Do what :func:`kernels.decode_step.reference.prefill` does; return the tokens of the longest
        block.

        Raises:
            IndexError: if the frame does not fit the cache.
        """
        batch, tokens, width = vision.shape
        if (batch, width) != (self._decoder.batch, self._width):
            raise ValueError(
                f"vision tokens are ({self._decoder.batch}, tokens, {self._width}), not {tuple(vision.shape)}"
            )
        if vision.stride()[1:] != (width, 1):
            vision = vision.contiguous()
        self._decoder.vision, self._decoder.vision_stride = _address(vision[0]), vision.stride(0)
        return self._call(self._library.prefill, tokens, tokens + self._group)

    def steps(self, most: int, may_end_early: bool = True) -> int:
        """Take the steps (:func:`kernels.decode_step.reference.step`) of each video until it has finished,
        ``most`` at most; return the most that one has taken. Whether they ``may_end_early`` costs nothing to
        find out here.

        Raises:
            IndexError: if so many do not fit the cache.
        """
        return self._call(self._library.decode_steps, most, self._group)

    def _call(self, function: Callable[..., int], number: int, tokens: int) -> int:
        """Call C with a ``number`` and with scratch for blocks of ``tokens`` tokens."""
        if tokens > self._scratch_tokens:
            size = self._library.scratch_bytes(ctypes.byref(self._decoder), tokens)
            self._scratch, self._scratch_tokens = torch.empty(size, dtype=torch.uint8, device="cpu"), tokens
        self._decoder.threads = torch.get_num_threads()
        made = function(ctypes.byref(self._decoder), self._scratch.data_ptr(), number)
        if made < 0:
            raise IndexError(
                f"what comes does not fit behind {int(self._length.max())} tokens in {self._slots - 1} slots"
            )
        return made


_IN_PLACE = (
    dict.fromkeys(("rotation", "keys", "values", "blocked", "requirement"), torch.float32)
    | dict.fromkeys(("length", "step_position", "budget", "taken"), torch.int32)
    | {"pending": torch.int64, "chosen": torch.int64, "finished": torch.bool}
)
"""What of a state C reads and writes, and as what."""


def step(state: DecoderState, weights: Weights, sequential: bool = False) -> Tensor:
    """See :func:`kernels.decode_step.reference.step`; for many steps of one state, :class:`NativeDecoder`."""
    decoder = NativeDecoder(state, weights, sequential)
    decoder.steps(1)
    return decoder.predictions


def _address(tensor: Tensor, dtype: torch.dtype = torch.float32) -> int:
    if tensor.dtype != dtype or tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise TypeError(
            f"the native decoder takes contiguous {dtype} on the CPU here, and got {tensor.dtype} on "
            f"{tensor.device} with shape {tuple(tensor.shape)} and strides {tensor.stride()}"
        )
    return tensor.data_ptr()


def _fingerprint(command: list[str]) -> str:
    """Return a hash of all that the built library depends on, this processor included."""
    told = [_run([*command, "--version"]).stdout, repr((command, _THIS_PROCESSOR))]
    parts = [*(source.read_bytes() for source in _SOURCES), *(each.encode() for each in told), _processor()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> bytes:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}".encode()
    told = [line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return "\n".join(told).encode()


def _folder() -> Path:
    """Return the folder that libraries are kept in; makes it, for the user alone."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    except RuntimeError as error:
        raise BuildError(
            "needs a folder for what it compiles, and the user has no home; set XDG_CACHE_HOME"
        ) from error
    folder = root / "autogaze"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_own(folder)
    except OSError as error:
        raise _no_place(folder, error) from error
    return folder


def _require_own(place: Path) -> None:
    """Raise ``BuildError`` if another user can have put code there."""
    status = place.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BuildError(
            f"would run compiled code from {place}, which other users can write to; remove it, or set "
            "XDG_CACHE_HOME to a folder of your own"
        )


def _build(command: list[str], built: Path) -> None:
    """Compile beside the target and rename, so that builds at the same time do not meet."""
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        made = Path(folder) / built.name
        for asked in _THIS_PROCESSOR:
            done = _run([*command, *asked, str(_SOURCES[0]), "-o", str(made)])
            if done.returncode == 0:
                break
        else:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            complaint = next((line for line in lines if "error" in line), lines[-1])
            raise BuildError(
                f"cannot be compiled by {command[0]} ({complaint.strip()}); install a complete gcc or clang, "
                "or set CC"
            )
        made.chmod(0o755)  # whatever the umask is, others must not be able to change it
        made.replace(built)


def _no_place(folder: Path, error: OSError) -> BuildError:
    return BuildError(
        f"cannot be built in {folder} ({error.strerror}); make that folder writable, or set XDG_CACHE_HOME"
    )


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a compiler, which gets no input and must come to an end."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=MOST_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        stuck = f"it does not end within {MOST_SECONDS} seconds"
        reason = error.strerror if isinstance(error, OSError) else stuck
        raise BuildError(
            f"needs a C compiler and {command[0]} cannot be used ({reason}); set CC to another"
        ) from error
