"""Power, clocks and energy, from whatever meter can be read here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.meters.nvml import open_handle

_POWERCAP = Path("/sys/class/powercap")

_THROTTLE_PREFIX = "nvmlClocksEventReason"
_HARMLESS = {"None", "All", "GpuIdle", "ApplicationsClocksSetting", "SyncBoost"}


class PowerMeter(Protocol):
    """Something that tells the state of the device under measurement."""

    name: str

    def energy_joules(self) -> float | None:
        """Return the energy used since an arbitrary moment, None where it is not counted."""

    def telemetry(self) -> dict[str, float | str]:
        """Return power (W), clock (MHz), temperature (C) and throttle reasons now, as far as known."""


class NoMeter:
    """Nothing can be read."""

    name = "none"

    def energy_joules(self) -> float | None:
        return None

    def telemetry(self) -> dict[str, float | str]:
        return {}


class NvmlMeter:
    """An NVIDIA GPU's own sensors; its energy counter covers the whole board."""

    name = "nvml"

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def energy_joules(self) -> float | None:
        millijoules = self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        return None if millijoules is None else millijoules / 1000

    def telemetry(self) -> dict[str, float | str]:
        nvml, handle = self._nvml, self._handle
        milliwatts = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        read = {
            "power_watts": None if milliwatts is None else milliwatts / 1000,
            "sm_clock_mhz": self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "temperature_celsius": self._ask(
                lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
            ),
            "throttle_reasons": self._throttle_reasons(),
        }
        return {name: value for name, value in read.items() if value is not None}

    def _throttle_reasons(self) -> str | None:
        """Return the reasons that hold the clock down, joined by '|'; empty where nothing does."""
        bits = self._ask(lambda: self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle))
        if bits is None:
            return None
        reasons = []
        for constant in dir(self._nvml):
            reason = constant.removeprefix(_THROTTLE_PREFIX)
            if constant != reason and reason not in _HARMLESS and getattr(self._nvml, constant) & bits:
                reasons.append(reason)
        return "|".join(reasons)

    def _ask(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (self._nvml.NVMLError, AttributeError):
            return None


class RaplMeter:
    """The CPU packages' energy counters; they cover everything the machine does."""

    name = "rapl"

    def __init__(self, packages: list[Path]) -> None:
        self._ranges = {package: int((package / "max_energy_range_uj").read_text()) for package in packages}
        self._last = {package: self._read(package) for package in packages}
        self._microjoules = 0

    def energy_joules(self) -> float | None:
        for package, before in self._last.items():
            now = self._read(package)
            # The counter starts again at zero once it has reached its range.
            self._microjoules += now - before if now >= before else now - before + self._ranges[package]
            self._last[package] = now
        return self._microjoules / 1e6

    def telemetry(self) -> dict[str, float | str]:
        return {}

    @staticmethod
    def _read(package: Path) -> int:
        return int((package / "energy_uj").read_text())


def open_meter(pci_id: str | None, powercap: Path = _POWERCAP) -> PowerMeter:
    """Return NVML for the GPU at ``pci_id``, RAPL for the CPU (None), else :class:`NoMeter`."""
    if pci_id is not None:
        opened = open_handle(pci_id)
        return NvmlMeter(*opened) if opened else NoMeter()
    try:
        packages = sorted(
            package for package in powercap.glob("intel-rapl:*") if package.name.count(":") == 1
        )
        return RaplMeter(packages) if packages else NoMeter()
    except (OSError, ValueError):
        return NoMeter()
