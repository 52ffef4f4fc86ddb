"""Versions: what is here, and how fast the device may run."""

import platform
from importlib import metadata
from typing import Any

from bench.devices import driver_cuda_version
from bench.first_contact.item import Settings
from bench.meters.nvml import gpu_facts

_PACKAGES = ("torch", "triton", "transformers", "numpy", "nvidia-ml-py", "pydantic", "av")


def versions(settings: Settings) -> dict[str, Any]:
    """Return versions of packages and driver, and of a GPU its sizes and clock policy."""
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{package: _version(package) for package in _PACKAGES},
        "torch.cuda": torch.version.cuda,
        "torch.threads": torch.get_num_threads(),
        "driver.cuda": driver_cuda_version(),
    }
    if not settings.is_cuda:
        return found
    properties = torch.cuda.get_device_properties(settings.device)
    named = (
        *("name", "major", "minor", "multi_processor_count", "total_memory", "L2_cache_size"),
        *("shared_memory_per_block_optin", "shared_memory_per_multiprocessor", "regs_per_multiprocessor"),
    )
    found |= {f"device.{name}": getattr(properties, name, None) for name in named}
    found |= {"cudnn": torch.backends.cudnn.version()}
    return found | (gpu_facts(settings.pci_id) if settings.pci_id else {})


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
