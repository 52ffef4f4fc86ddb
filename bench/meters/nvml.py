"""NVIDIA's management library, where there is one: a GPU's handle, and its driver, clock policy and modes."""

from collections.abc import Callable
from typing import Any

Fact = str | int | float | bool | None


def open_handle(pci_id: str) -> tuple[Any, Any] | None:
    """Return ``pynvml``, initialised, and its handle of the GPU at ``pci_id``; None without either.

    GPUs are found by their place on the bus: CUDA and the management library number them differently.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(pci_id.encode())
    except pynvml.NVMLError:
        return None


def gpu_facts(pci_id: str) -> dict[str, Fact]:
    """Return driver, clock policy and modes of the GPU at ``pci_id``, power in watts, clocks in MHz.

    A fact that this GPU or driver does not have is None; without the library there are no facts. What decides
    how fast a GPU may run is its policy: application clocks, which are asked for, and the power limit, which
    is enforced; persistence says whether the driver stays loaded between programs.
    """
    opened = open_handle(pci_id)
    if opened is None:
        return {}
    nvml, handle = opened

    def ask(read: Callable[[], Any]) -> Fact:
        try:
            answer: Fact | bytes = read()
        except (nvml.NVMLError, AttributeError):
            return None
        return answer.decode() if isinstance(answer, bytes) else answer

    return {
        "gpu.driver": ask(nvml.nvmlSystemGetDriverVersion),
        "gpu.power_limit_watts": ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        "gpu.power_limit_default_watts": ask(
            lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000
        ),
        "gpu.application_clock_mhz": ask(
            lambda: nvml.nvmlDeviceGetApplicationsClock(handle, nvml.NVML_CLOCK_SM)
        ),
        "gpu.application_memory_clock_mhz": ask(
            lambda: nvml.nvmlDeviceGetApplicationsClock(handle, nvml.NVML_CLOCK_MEM)
        ),
        "gpu.default_application_clock_mhz": ask(
            lambda: nvml.nvmlDeviceGetDefaultApplicationsClock(handle, nvml.NVML_CLOCK_SM)
        ),
        "gpu.max_clock_mhz": ask(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
        "gpu.ecc": ask(lambda: bool(nvml.nvmlDeviceGetEccMode(handle)[0])),
        "gpu.mig": ask(lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[0])),
        "gpu.persistence": ask(lambda: bool(nvml.nvmlDeviceGetPersistenceMode(handle))),
    }
