"""Devices that are here, and which of them a name means.

CUDA devices are asked from the driver itself, in torch's order and with ``CUDA_VISIBLE_DEVICES`` obeyed,
without importing torch and without creating a context: the parent process stays light and takes no GPU
memory.
"""

import ctypes
import re
from dataclasses import dataclass
from functools import cache

from autogaze.errors import InputError

_SM_COUNT = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT


@dataclass(frozen=True)
class Device:
    """A device to measure on."""

    torch_name: str
    """What torch calls it: ``cpu``, ``cuda:0``."""
    name: str
    """What its maker calls it."""
    pci_id: str | None = None
    """Place on the bus; None for the CPU."""
    sm_count: int | None = None
    memory_bytes: int | None = None

    @property
    def slug(self) -> str:
        """The name, fit for a folder: ``h100-80gb-hbm3``."""
        return re.sub(r"[^a-z0-9]+", "-", re.sub(r"nvidia|geforce|tesla", "", self.name.lower())).strip("-")


CPU = Device("cpu", "cpu")


@cache
def find_devices() -> tuple[Device, ...]:
    """Return the CUDA devices of this machine in torch's order, then the CPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return (CPU,)
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return (CPU,)
    return (*(_cuda_device(driver, ordinal) for ordinal in range(count.value)), CPU)


@cache
def driver_cuda_version() -> tuple[int, int] | None:
    """Return the newest CUDA, major and minor, that the NVIDIA driver here can run; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return number.value // 1000, number.value % 1000 // 10


def select(names: str, found: tuple[Device, ...], torch_has_cuda: bool = True) -> tuple[Device, ...]:
    """Return the devices meant by ``names``, as given to ``GPU=``.

    ``auto`` is the first CUDA device that torch can use, else the CPU; other names, joined by commas, are
    ``cpu``, ``cuda:1``, or any part of a device's name, spaces and case aside: the first device that fits.

    Raises ``InputError`` for a name that fits no device, and for a CUDA device where torch is built without
    CUDA.
    """
    if names.strip().lower() == "auto":
        return (found[0] if torch_has_cuda else CPU,)
    selected = dict.fromkeys(_named(name, found) for name in names.split(","))
    for device in selected:
        if device != CPU and not torch_has_cuda:
            raise InputError(
                f"device {device.name} is here, but torch is built without CUDA: "
                f"install a CUDA build of torch, or use GPU=cpu"
            )
    return tuple(selected)


def _named(name: str, found: tuple[Device, ...]) -> Device:
    wanted = _squeezed(name)
    for device in found:
        if name.strip().lower() == device.torch_name or (wanted and wanted in _squeezed(device.name)):
            return device
    here = ", ".join(f"{device.torch_name} ({device.name})" if device != CPU else "cpu" for device in found)
    raise InputError(f"no device here matches GPU '{name.strip()}': found {here}")


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _cuda_device(driver: ctypes.CDLL, ordinal: int) -> Device:
    handle, value, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    text = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(handle), ordinal)
    driver.cuDeviceGetName(text, len(text), handle)
    name = text.value.decode()
    driver.cuDeviceGetPCIBusId(text, len(text), handle)
    pci_id = text.value.decode()
    driver.cuDeviceGetAttribute(ctypes.byref(value), _SM_COUNT, handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), handle)
    return Device(f"cuda:{ordinal}", name, pci_id, value.value, size.value)
