"""Every operation by its name, with all it brings along; loads torch and triton."""

from importlib import import_module

from kernels import OPERATION_NAMES
from kernels.operation import Operation

OPERATIONS: dict[str, Operation] = {
    name: import_module(f"kernels.{name}.operation").OPERATION for name in OPERATION_NAMES
}
"""Operation name to operation."""
