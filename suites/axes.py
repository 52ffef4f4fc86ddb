"""Axes that several workloads have."""

from autogaze.errors import InputError
from kernels.decode_step.variants import FRAMES, measured_as
from suites.workload import AxisValue

ATTENTION_BACKENDS = ("eager", "sdpa", "flash_attention_2", "flex", "triton")
ATTENTION_PRELOAD: dict[AxisValue, tuple[str, ...]] = {
    "flex": ("torch._dynamo", "torch._inductor.compile_fx", "torch.nn.attention.flex_attention")
}


DTYPES = ("float32", "bfloat16", "float16")


ENGINES = ("auto", "eager", "native", "graph", "triton", *map(measured_as, FRAMES))


def at_least_one(name: str, value: AxisValue) -> AxisValue:
    """Return the value of axis ``name`` if it is a count; raise ``InputError`` otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} {value} must be a whole number of at least 1")
    return value
