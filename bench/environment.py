"""Environment of a run: enough to decide whether two runs may be compared.

Everything is read without importing torch or starting CUDA in this process: from the NVIDIA driver's
management library, from package metadata, from the operating system.
"""

import os
import platform
import runpy
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from bench.devices import Device
from bench.meters.nvml import gpu_facts
from bench.processor import describe_cpu
from bench.records import AxisValue, Environment, Run
from kernels.c_compiler import compiler_version

_PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "flash-attn",
    "numpy",
    "pillow",
    "scikit-image",
    "av",
)
_FFMPEG_LIBRARIES = ("libavcodec", "libavformat", "libavutil", "libswscale")
"""What decodes, and what turns its pictures into RGB: other versions give other pixels."""


@dataclass(frozen=True)
class Matter:
    """A fact that two runs must share to be compared."""

    name: str
    """What ``--allow`` calls it."""
    field: str
    """Where it is: in the environment's fields or the run's settings."""
    label: str
    """What a sentence calls it."""


COMPARABILITY = (
    Matter("device", "device.name", "device"),
    Matter("sms", "gpu.sm_count", "number of streaming multiprocessors"),
    Matter("gpu-memory", "gpu.memory_bytes", "GPU memory"),
    Matter("driver", "gpu.driver", "NVIDIA driver"),
    Matter("power-limit", "gpu.power_limit_watts", "GPU power limit"),
    Matter("clocks", "gpu.application_clock_mhz", "GPU application clock"),
    Matter("memory-clocks", "gpu.application_memory_clock_mhz", "GPU application clock of its memory"),
    Matter("ecc", "gpu.ecc", "ECC mode"),
    Matter("mig", "gpu.mig", "MIG mode"),
    Matter("cpu", "cpu.model", "CPU model"),
    Matter("threads", "cpu.threads", "number of CPU threads"),
    Matter("cores", "cpu.cores", "CPU cores allowed"),
    Matter("quota", "cpu.quota", "limit of the control group on CPU time"),
    Matter("governor", "cpu.governor", "CPU frequency governor"),
    Matter("turbo", "cpu.turbo", "CPU turbo"),
    Matter("smt", "cpu.smt", "simultaneous multithreading"),
    Matter("omp-threads", "cpu.omp_threads", "OMP_NUM_THREADS"),
    Matter("python", "python.version", "Python version"),
    Matter("torch", "torch.version", "torch version"),
    Matter("cuda", "torch.cuda", "CUDA version of torch"),
    Matter("triton", "triton.version", "triton version"),
    Matter("transformers", "transformers.version", "transformers version"),
    Matter("flash-attn", "flash-attn.version", "flash-attn version"),
    Matter("numpy", "numpy.version", "numpy version"),
    Matter("pillow", "pillow.version", "Pillow version"),
    Matter("scikit-image", "scikit-image.version", "scikit-image version"),
    Matter("av", "av.version", "PyAV version"),
    *(
        Matter(library, f"ffmpeg.{library}", f"version of FFmpeg's {library}")
        for library in _FFMPEG_LIBRARIES
    ),
    Matter("compiler", "compiler.version", "C compiler of the native engine"),
    Matter("video", "video_sha256", "video"),
    Matter("checkpoint", "checkpoint", "gaze checkpoint"),
    Matter("revision", "revision", "checkpoint revision"),
    Matter("task-checkpoint", "task_checkpoint", "reconstruction checkpoint"),
    Matter("task-revision", "task_revision", "revision of the reconstruction checkpoint"),
    Matter("geometry", "geometry", "geometry"),
    Matter("seed", "seed", "seed"),
)
"""What must agree before two runs are compared. The code may differ: it is what is being compared."""

IMMATERIAL = frozenset(
    {
        "device",
        "platform",
        "gpu.name",
        "gpu.pci_id",
        "gpu.persistence",
        "gpu.default_application_clock_mhz",
        "gpu.max_clock_mhz",
        "gpu.power_limit_default_watts",
        "git.commit",
        "git.dirty",
    }
)
"""Fields that are written down and may differ. The place of a GPU is one of them, its model is not; the
clocks and limits that it came with are, those that are set are not."""


def describe(device: Device) -> Environment:
    """Return the environment of a run on ``device``."""
    fields: dict[str, AxisValue] = {
        "device": device.torch_name,
        "device.name": device.name,
        "platform": platform.platform(),
        **describe_cpu(),
        "cpu.omp_threads": os.environ.get("OMP_NUM_THREADS"),
        "python.version": platform.python_version(),
        "torch.cuda": torch_cuda_version(),
    }
    fields |= {f"{package}.version": package_version(package) for package in _PACKAGES}
    fields |= {f"ffmpeg.{library}": version for library, version in _ffmpeg_versions().items()}
    fields["compiler.version"] = compiler_version()
    fields |= _git_facts(Path(__file__).parent)
    if device.pci_id is not None:
        fields |= {"gpu.pci_id": device.pci_id, "gpu.name": device.name}
        fields |= {"gpu.sm_count": device.sm_count, "gpu.memory_bytes": device.memory_bytes}
        fields |= gpu_facts(device.pci_id)
    return Environment(fields=fields)


def device_model(run: Run) -> str:
    """Return what a run measured, by its maker's name: ``NVIDIA H100 PCIe``, ``cpu (AMD EPYC 9R14)``."""
    fields = run.environment.fields
    name, model = fields.get("device.name") or "unknown device", fields.get("cpu.model")
    return f"{name} ({model})" if name == "cpu" and model else str(name)


def differences(run_a: Run, run_b: Run) -> list[tuple[Matter, AxisValue, AxisValue]]:
    """Return what matters for comparing and differs, with both values.

    A fact of the environment that one run did not record, because it is older, is not known to differ.
    """
    unknown = set(run_a.environment.fields) ^ set(run_b.environment.fields)
    facts_a, facts_b = ({**run.environment.fields, **run.settings} for run in (run_a, run_b))
    pairs = [(matter, facts_a.get(matter.field), facts_b.get(matter.field)) for matter in COMPARABILITY]
    return [(matter, a, b) for matter, a, b in pairs if a != b and matter.field not in unknown]


def package_version(package: str) -> str | None:
    """Return the installed version of ``package``, None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _ffmpeg_versions() -> dict[str, str | None]:
    """Return the versions of the FFmpeg libraries that PyAV brings; each None without PyAV."""
    try:
        from av import library_versions
    except ImportError:
        return dict.fromkeys(_FFMPEG_LIBRARIES)
    found = {name: ".".join(map(str, version)) for name, version in library_versions.items()}
    return {library: found.get(library) for library in _FFMPEG_LIBRARIES}


@cache
def torch_cuda_version() -> str | None:
    """Return the CUDA version torch was built for, None for a CPU build; read without importing torch."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    facts = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
    cuda = facts.get("cuda")
    return None if cuda is None else str(cuda)


def _git_facts(folder: Path) -> dict[str, AxisValue]:
    """Return commit and dirtiness of the project; None where it is not a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain")
    return {"git.commit": git("rev-parse", "HEAD"), "git.dirty": None if changes is None else bool(changes)}
