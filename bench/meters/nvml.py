"""A GPU's handle in NVIDIA's management library, where there is one."""

from typing import Any


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
