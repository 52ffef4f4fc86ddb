"""A stand-in for the ``pynvml`` module with one GPU."""


class NVMLError(Exception):
    pass


NVML_CLOCK_SM = 1
NVML_CLOCK_MEM = 2
NVML_TEMPERATURE_GPU = 0
nvmlClocksEventReasonGpuIdle = 1  # noqa: N816
nvmlClocksEventReasonSwPowerCap = 4  # noqa: N816
nvmlClocksEventReasonHwSlowdown = 8  # noqa: N816

PCI_ID = "0000:3B:00.0"


def nvmlInit() -> None:  # noqa: N802
    return


def nvmlDeviceGetHandleByPciBusId(pci_id: bytes) -> str:  # noqa: N802
    if pci_id.decode() != PCI_ID:
        raise NVMLError("not found")
    return "handle"


def nvmlDeviceGetTotalEnergyConsumption(handle: str) -> int:  # noqa: N802
    return 2500


def nvmlDeviceGetPowerUsage(handle: str) -> int:  # noqa: N802
    return 350_000


def nvmlDeviceGetClockInfo(handle: str, kind: int) -> int:  # noqa: N802
    return 1980


def nvmlDeviceGetTemperature(handle: str, kind: int) -> int:  # noqa: N802
    raise NVMLError("not supported")


def nvmlDeviceGetCurrentClocksEventReasons(handle: str) -> int:  # noqa: N802
    return nvmlClocksEventReasonGpuIdle | nvmlClocksEventReasonSwPowerCap


def nvmlSystemGetDriverVersion() -> bytes:  # noqa: N802
    return b"570.86"


def nvmlDeviceGetEnforcedPowerLimit(handle: str) -> int:  # noqa: N802
    return 700_000


def nvmlDeviceGetEccMode(handle: str) -> list[int]:  # noqa: N802
    return [1, 1]


def nvmlDeviceGetPowerManagementDefaultLimit(handle: str) -> int:  # noqa: N802
    return 650_000


def nvmlDeviceGetApplicationsClock(handle: str, kind: int) -> int:  # noqa: N802
    return {NVML_CLOCK_SM: 1755, NVML_CLOCK_MEM: 2619}[kind]


def nvmlDeviceGetMaxClockInfo(handle: str, kind: int) -> int:  # noqa: N802
    return 1980


def nvmlDeviceGetPersistenceMode(handle: str) -> int:  # noqa: N802
    return 1
