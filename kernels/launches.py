"""Compilation of kernels for GPUs that need not be here, as their operations would launch them there.

Triton compiles for a named target without a GPU, and cuobjdump says what the result needs. An operation's own
host code is run on CPU tensors with its launches caught instead of carried out, so what is compiled is what
would be launched, arguments, block sizes and all. :mod:`kernels.compilation` is the command.
"""

import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from kernels.gpus import Gpu, assuming
from kernels.numerics import INTERPRETED
from kernels.operation import Operation, Shape

_TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
}
"""What Triton calls the types of pointers."""


def _type(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"*{_TYPES[value.dtype]}"
    return "fp32" if isinstance(value, float) else "i32" if -(2**31) <= value < 2**31 else "i64"


def named(function: str, arguments: Mapping[str, Any]) -> str:
    """Return a launch's name: that of its function, which of its switches are on, and whether its products
    are plain multiplications."""
    switches = [name for name, on in arguments.items() if on is True]
    plain = ["ieee"] if arguments.get("PRECISION") == "ieee" else []
    return " ".join([function.removesuffix("_kernel"), *switches, *plain])


@dataclass(frozen=True)
class Launch:
    """One call of a kernel: which, with what."""

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]
    grid: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return named(self.kernel.fn.__name__, self.arguments)

    def signature(self) -> tuple[Any, Any, Any]:
        """Return types, constants and alignments of the arguments, as Triton's launcher derives them."""
        signature, constants, attributes = [], [], []
        for place, parameter in enumerate(self.kernel.params):
            value = self.arguments[parameter.name]
            specialized = isinstance(value, int) and not parameter.do_not_specialize
            if parameter.is_constexpr or (specialized and value == 1):
                signature.append((parameter.name, "constexpr"))
                constants.append(((place,), value))
                continue
            signature.append((parameter.name, _type(value)))
            # Memory begins at a multiple of 16 bytes on a CPU as on a GPU, and offsets are the same.
            aligned = value.data_ptr() % 16 == 0 if isinstance(value, torch.Tensor) else value % 16 == 0
            if aligned and (specialized or isinstance(value, torch.Tensor)):
                attributes.append(((place,), (("tt.divisibility", 16),)))
        return tuple(signature), tuple(constants), tuple(attributes)

    def same_as(self, other: "Launch") -> bool:
        """Whether one compiled kernel serves both."""
        mine, its = ((each.kernel, each.signature(), each.options) for each in (self, other))
        return bool(mine == its)


@dataclass(frozen=True)
class Resources:
    """What a compiled launch takes of a multiprocessor."""

    shared: int
    """Bytes of shared memory of a block."""
    registers: int
    """Registers of a thread."""
    spilled: int
    """Bytes of a thread's stack, which is where registers are spilled to."""
    instructions: int
    """Length of the compiled code; loops count once, what pads the end counts too."""


@contextmanager
def caught_launches() -> Iterator[list[Launch]]:
    """Collect the launches of the enclosed code instead of carrying them out; equal ones once."""
    caught: list[Launch] = []

    def catch(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        options = {name: value for name, value in kwargs.items() if name not in self.arg_names}
        constants = {name: value for name, value in kwargs.items() if name in self.arg_names}
        launch = Launch(self, {**dict(zip(self.arg_names, args, strict=False)), **constants}, options, grid)
        if not any(launch.same_as(other) for other in caught):
            caught.append(launch)

    with patch.object(JITFunction, "run", catch):
        yield caught


def launches(operation: Operation, shape: Shape, dtype: torch.dtype, gpu: Gpu) -> list[Launch]:
    """Return the launches that an operation's fast form and its variants make for a shape on a GPU."""
    if INTERPRETED:
        raise RuntimeError(
            "kernels imported under TRITON_INTERPRET=1 cannot be compiled: use another process"
        )
    with assuming(gpu), caught_launches() as caught:
        for form in (operation.fast, *operation.launchable(torch.device("cuda")).values()):
            form(**operation.inputs(shape, dtype, torch.device("cpu")))
    return caught


def compile_launch(launch: Launch, gpu: Gpu) -> Resources:
    """Compile a launch for a GPU and read what it needs there."""
    signature, constants, attributes = launch.signature()
    source = ASTSource(launch.kernel, dict(signature), dict(constants), dict(attributes))
    compiled = triton.compile(source, target=GPUTarget("cuda", gpu.capability, 32), options=launch.options)
    cubin = compiled.asm["cubin"]
    usage = _resource_usage(cubin)
    code = sum(size for name, size in _sections(cubin) if name.startswith(".text."))
    return Resources(int(compiled.metadata.shared), usage["REG"], usage["STACK"], code // _INSTRUCTION_BYTES)


def _resource_usage(cubin: bytes) -> dict[str, int]:
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        report = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return {name: int(value) for name, value in re.findall(r"\b(REG|STACK):(\d+)", report)}


_INSTRUCTION_BYTES = 16
"""From compute capability 7.0 on."""


def _sections(elf: bytes) -> list[tuple[str, int]]:
    """Return names and bytes of the sections of a 64-bit little-endian ELF file."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry_bytes, count, names = struct.unpack_from("<3H", elf, 0x3A)
    entries = [struct.unpack_from("<2I4Q", elf, table + i * entry_bytes) for i in range(count)]
    strings = entries[names][4]
    places = (strings + entry[0] for entry in entries)
    return [
        (elf[at : elf.index(b"\0", at)].decode(), entry[5]) for at, entry in zip(places, entries, strict=True)
    ]
