"""Compile every launch of every operation for GPUs that need not be here: ``python -m kernels.compilation``.

Triton compiles for a named target without a GPU, and ptxas says what the result needs. An operation's own
host code is run on CPU tensors with its launches caught instead of carried out, so what is compiled is what
would be launched, arguments, block sizes and all. The exit code is 1 if a launch needs more shared memory
than the target has, or spills registers.
"""

import itertools
import re
import subprocess
import sys
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

from kernels.numerics import INTERPRETED, assuming_capability
from kernels.operation import Operation, Shape
from kernels.registry import OPERATIONS

TARGETS = (80, 86, 90, 100)
"""Compute capabilities: A100, RTX 3090, H100 and H200, B200."""
DTYPES = (torch.float32, torch.bfloat16)
"""float16 compiles to what bfloat16 does, with another conversion."""

_SHARED_LIMIT = {80: 163 * 1024, 86: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}
"""Most shared memory of one block, in bytes (CUDA programming guide, compute capabilities)."""
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
    options: dict[str, int]

    @property
    def name(self) -> str:
        return str(self.kernel.fn.__name__)


@dataclass(frozen=True)
class Resources:
    """What a compiled launch takes of a multiprocessor."""

    target: int
    shared: int
    """Bytes of shared memory of a block."""
    registers: int
    """Registers of a thread."""
    spilled: int
    """Bytes of a thread's stack, which is where registers are spilled to."""

    @property
    def fits(self) -> bool:
        return self.shared <= _SHARED_LIMIT[self.target] and self.spilled == 0


@contextmanager
def caught_launches() -> Iterator[list[Launch]]:
    """Collect the launches of the enclosed code instead of carrying them out; equal ones once."""
    caught: list[Launch] = []

    def catch(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        options: dict[str, int] = {
            name: kwargs.pop(name) for name in ("num_warps", "num_stages") if name in kwargs
        }
        arguments = {**dict(zip(self.arg_names, args, strict=False)), **kwargs}
        launch = Launch(self, arguments, options)
        if all((self, _signature(launch)) != (other.kernel, _signature(other)) for other in caught):
            caught.append(launch)

    with patch.object(JITFunction, "run", catch):
        yield caught


def launches(operation: Operation, shape: Shape, dtype: torch.dtype, target: int) -> list[Launch]:
    """Return the launches that an operation makes for a shape on a GPU of compute capability ``target``."""
    if INTERPRETED:
        raise RuntimeError(
            "kernels imported under TRITON_INTERPRET=1 cannot be compiled: use another process"
        )
    with assuming_capability(target), caught_launches() as caught:
        operation.fast(**operation.inputs(shape, dtype, torch.device("cpu")))
    return caught


def compile_launch(launch: Launch, target: int) -> Resources:
    """Compile a launch for compute capability ``target`` and read what it needs."""
    signature, constants, attributes = _signature(launch)
    source = ASTSource(launch.kernel, dict(signature), dict(constants), dict(attributes))
    compiled = triton.compile(source, target=GPUTarget("cuda", target, 32), options=launch.options)
    usage = _resource_usage(compiled.asm["cubin"])
    return Resources(target, int(compiled.metadata.shared), usage["REG"], usage["STACK"])


def _signature(launch: Launch) -> tuple[Any, Any, Any]:
    """Return types, constants and alignments of a launch's arguments, as Triton's launcher derives them."""
    signature, constants, attributes = [], [], []
    for place, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
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


def _resource_usage(cubin: bytes) -> dict[str, int]:
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        report = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return {name: int(value) for name, value in re.findall(r"\b(REG|STACK):(\d+)", report)}


def main() -> int:
    failures = 0
    cases = itertools.product(OPERATIONS.values(), DTYPES, TARGETS)
    for operation, dtype, target in cases:
        for shape in operation.compiled_shapes:
            for launch in launches(operation, shape, dtype, target):
                found = compile_launch(launch, target)
                failures += not found.fits
                print(
                    f"{'ok  ' if found.fits else 'FAIL'} {launch.name:26} {_TYPES[dtype]} sm_{target:<4}"
                    f"{found.shared:7} B shared {found.registers:4} registers {found.spilled:4} B spilled"
                    f"  {' '.join(f'{name}={size}' for name, size in shape.items())}",
                    flush=True,
                )
    print(f"{failures} launches do not fit" if failures else "every launch fits")
    return min(1, failures)


if __name__ == "__main__":
    sys.exit(main())
