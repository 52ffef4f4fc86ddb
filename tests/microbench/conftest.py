"""What micro-benchmarks are, and where they ran."""

from typing import Any

import pytest
import torch

from bench.devices import CPU
from bench.environment import describe


@pytest.fixture(autouse=True)
def without_gradients():
    """Measure as models are used."""
    with torch.inference_mode():
        yield


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Say of the machine what a run of this project says."""
    machine_info["environment"] = dict(describe(CPU).fields)
