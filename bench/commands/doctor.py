"""``doctor``: what can run here, what cannot, why, and what to install."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace

from rich.markup import escape
from rich.table import Table

from autogaze.errors import InputError
from bench.commands import options
from bench.commands.machine import print_json
from bench.commands.measuring import open_console
from bench.device_checks import check_device
from bench.devices import CPU, Device, find_devices
from bench.environment import package_version, torch_cuda_version
from bench.meters.instructions import open_counter
from bench.meters.power import open_meter
from suites.prices import slow_remarks

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Finding:
    """One thing that can or cannot be used here."""

    area: str
    subject: str
    usable: bool
    remark: str
    """What is here, or why it cannot be used and what would help."""


@dataclass(frozen=True)
class _Optional:
    package: str
    serves: str
    install: str


_OPTIONAL = (
    _Optional("triton", "fast kernels", "pip install triton (Linux)"),
    _Optional(
        "flash-attn",
        "the flash-attn package's attention kernels",
        "pip install '.[flash]' (CUDA and nvcc needed)",
    ),
    _Optional("lpips", "LPIPS in quality figures", "pip install '.[lpips]'"),
    _Optional("hydra-core", "training", "pip install '.[train]'"),
    _Optional("ray", "labelling on several machines", "pip install '.[ray]'"),
)


def doctor(json: options.Json = False) -> None:
    """Say what can run here, what cannot, why, and what to install."""
    table = Table()
    for column in ("area", "what", "usable", "remark"):
        table.add_column(column, overflow="fold")
    findings = list(examine())
    for finding in findings:
        table.add_row(
            finding.area, finding.subject, "yes" if finding.usable else "no", escape(finding.remark)
        )
    open_console(stderr=json).print(table)
    if json:
        print_json({"findings": [asdict(finding) for finding in findings]})


def examine() -> Iterator[Finding]:
    """Look at devices, number formats, attention backends, engines, meters and optional packages."""
    devices = _usable_devices(find_devices())
    yield from _device_findings(find_devices())
    for device in devices:
        yield from _dtype_findings(device)
        yield from _attention_findings(device)
        yield from _engine_findings(device)
        yield _meter_finding(device)
    yield _counter_finding()
    for optional in _OPTIONAL:
        version = package_version(optional.package)
        remark = (
            f"{version}, for {optional.serves}" if version else f"for {optional.serves}: {optional.install}"
        )
        yield Finding("packages", optional.package, version is not None, remark)


def _usable_devices(found: tuple[Device, ...]) -> list[Device]:
    return [device for device in found if device == CPU or torch_cuda_version()]


def _device_findings(found: tuple[Device, ...]) -> Iterator[Finding]:
    usable = _usable_devices(found)
    for device in found:
        remark = device.torch_name
        if device not in usable:
            remark = "torch is built without CUDA: pip install a CUDA build of torch"
        yield Finding("devices", device.name, device in usable, remark)
        try:
            check_device(device, torch_cuda_version())
        except InputError as error:
            yield Finding("devices", device.name, False, str(error))
    if found == (CPU,):
        yield Finding(
            "devices",
            "CUDA",
            False,
            "the NVIDIA driver (libcuda.so.1) finds no GPU: install it, or use GPU=cpu",
        )


def _dtype_findings(device: Device) -> Iterator[Finding]:
    """Try each number format, and time it: one that is emulated works, and takes many times as long."""
    import torch

    slow = slow_remarks(torch.device(device.torch_name), _DTYPES)
    for dtype in _DTYPES:
        found = _dtype_finding(device, dtype)
        yield replace(found, remark=slow[dtype]) if found.usable and dtype in slow else found


def _dtype_finding(device: Device, dtype: str) -> Finding:
    """Multiply two small matrices: whether that works matters more than what the device claims."""
    import torch

    try:
        ones = torch.ones(8, 8, dtype=getattr(torch, dtype), device=device.torch_name)
        usable = bool((ones @ ones == 8).all())
        remark = "" if usable else "gives wrong products"
    except RuntimeError as error:
        usable, remark = False, str(error).splitlines()[0]
    return Finding(f"dtypes on {device.name}", dtype, usable, remark)


def _attention_findings(device: Device) -> Iterator[Finding]:
    import torch

    from autogaze.attention import available_backends

    dtype = torch.float32 if device == CPU else torch.bfloat16
    for backend, reason in available_backends(torch.device(device.torch_name), dtype).items():
        yield Finding(
            f"attention on {device.name}",
            backend,
            reason is None,
            reason or f"in {dtype}".replace("torch.", ""),
        )


def _engine_findings(device: Device) -> Iterator[Finding]:
    """Ask for the released model's sizes; what an engine compiles once is compiled here."""
    import torch

    from autogaze.models.autogaze import AutoGazeConfig
    from autogaze.models.autogaze.engines import ENGINES

    arch = AutoGazeConfig().architecture()
    for name, engine in ENGINES.items():
        reason = engine.obstacle(arch, torch.device(device.torch_name), torch.float32)
        yield Finding(f"engines on {device.name}", name, reason is None, reason or "in float32")


def _meter_finding(device: Device) -> Finding:
    meter = open_meter(device.pci_id)
    if meter.name != "none":
        return Finding("energy", device.name, True, f"read by {meter.name}")
    cure = (
        "make /sys/class/powercap/intel-rapl:*/energy_uj readable to measure energy"
        if device == CPU
        else "install nvidia-ml-py and the NVIDIA driver's libnvidia-ml.so.1 to measure energy"
    )
    return Finding("energy", device.name, False, cure)


def _counter_finding() -> Finding:
    with closing(open_counter()) as counter:
        remark = counter.obstacle or "recorded beside wall clock and processor time"
        return Finding("instructions", "processor's counter", counter.obstacle is None, remark)
