"""Compilation of kernels for GPUs that need not be here, as their operations would launch them there.

Triton compiles for a named target without a GPU, and cuobjdump says what the result needs. An operation's own
host code is run on CPU tensors with its launches caught instead of carried out, so what is compiled is what
would be launched, arguments, block sizes and all. :mod:`kernels.compile_check` is the command.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
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


@dataclass(frozen=True)
class Launch:
    """One call of a kernel: which, with what."""

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The kernel's name, and which of its switches are on."""
        on = [name for name, value in self.arguments.items() if value is True]
        return " ".join([str(self.kernel.fn.__name__).removesuffix("_kernel"), *on])

    def signature(self) -> tuple[Any, Any, Any]:
        """Return types, constants and alignments of the arguments, as Triton's launcher derives them."""
        signature, constants, attributes = [], [], []
        for place, parameter in enumerate(self.kernel.params):
            value = self.arguments[parameter.name]
            if parameter.is_constexpr:
                signature.append((parameter.name, "constexpr"))
                constants.append(((place,), value))
            elif isinstance(value, torch.Tensor):
                signature.append((parameter.name, f"*{_TYPES[value.dtype]}"))
                attributes.append(((place,), (("tt.divisibility", 16),)))
            else:
                signature.append((parameter.name, "fp32" if isinstance(value, float) else "i32"))
                if isinstance(value, int) and value % 16 == 0:
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


@contextmanager
def caught_launches() -> Iterator[list[Launch]]:
    """Collect the launches of the enclosed code instead of carrying them out; equal ones once."""
    caught: list[Launch] = []

    def catch(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        options = {name: value for name, value in kwargs.items() if name not in self.arg_names}
        named = {name: value for name, value in kwargs.items() if name in self.arg_names}
        launch = Launch(self, {**dict(zip(self.arg_names, args, strict=False)), **named}, options)
        if not any(launch.same_as(other) for other in caught):
            caught.append(launch)

    with patch.object(JITFunction, "run", catch):
        yield caught


def launches(operation: Operation, shape: Shape, dtype: torch.dtype, gpu: Gpu) -> list[Launch]:
    """Return the launches that an operation makes for a shape on a GPU."""
    if INTERPRETED:
        raise RuntimeError(
            "kernels imported under TRITON_INTERPRET=1 cannot be compiled: use another process"
        )
    with assuming(gpu), caught_launches() as caught:
        operation.fast(**operation.inputs(shape, dtype, torch.device("cpu")))
    return caught


def compile_launch(launch: Launch, gpu: Gpu) -> Resources:
    """Compile a launch for a GPU and read what it needs there."""
    signature, constants, attributes = launch.signature()
    source = ASTSource(launch.kernel, dict(signature), dict(constants), dict(attributes))
    compiled = triton.compile(source, target=GPUTarget("cuda", gpu.capability, 32), options=launch.options)
    usage = _resource_usage(compiled.asm["cubin"])
    return Resources(int(compiled.metadata.shared), usage["REG"], usage["STACK"])


def _resource_usage(cubin: bytes) -> dict[str, int]:
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        report = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return {name: int(value) for name, value in re.findall(r"\b(REG|STACK):(\d+)", report)}
