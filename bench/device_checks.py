"""Checks of a CUDA device before anything runs on it: the driver, and Triton's compile cache.

What is wrong with either shows otherwise deep inside a cell, as an error about something else.
"""

import os
import re
import stat
from pathlib import Path

from autogaze.errors import InputError
from bench.devices import CPU, Device, driver_cuda_version

CACHE = "TRITON_CACHE_DIR"
_LEAST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""The oldest Linux driver that runs programs built for any CUDA of a major version (CUDA release notes, minor
version compatibility)."""
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_CURE = f"name a folder of your own with {CACHE}="


def check_device(device: Device, torch_cuda: str | None) -> None:
    """Raise ``InputError`` where the driver is too old for the torch that is here, which is built for CUDA
    ``torch_cuda``, and where kernels cannot be compiled into Triton's cache; of a CPU nothing is asked."""
    if device == CPU:
        return
    check_driver(driver_cuda_version(), torch_cuda)
    check_compile_cache()


def check_driver(runs: tuple[int, int] | None, torch_cuda: str | None, file: Path = _DRIVER_FILE) -> None:
    """Raise ``InputError`` where a driver that ``runs`` CUDA of some version is too old for a torch."""
    if runs is None or torch_cuda is None:
        return
    needed = int(torch_cuda.partition(".")[0])
    if runs[0] >= needed:
        return
    least = f"driver {_LEAST_DRIVER[needed]} or newer" if needed in _LEAST_DRIVER else "a newer driver"
    raise InputError(
        f"the NVIDIA driver{_driver_version(file)} runs CUDA {runs[0]}.{runs[1]} at most, and torch is built "
        f"for CUDA {torch_cuda}, which needs {least}: update the driver, or install a torch built for CUDA "
        f"{runs[0]}"
    )


def _driver_version(file: Path) -> str:
    try:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", file.read_text(encoding="utf-8"))
    except OSError:
        return ""
    return f" {found[1]}" if found else ""


def cache_folder() -> Path:
    """Return the folder in which Triton keeps what it has compiled."""
    named, home = os.environ.get(CACHE, "").strip(), os.environ.get("TRITON_HOME", "").strip()
    return Path(named) if named else Path(home or Path.home()) / ".triton" / "cache"


def check_compile_cache(folder: Path | None = None) -> None:
    """Raise ``InputError`` for a cache that cannot be used: no folder, not readable or writable, of another
    user, whose programs would be run here, or with entries that are such or were cut off.

    What another release of Triton or of this project has compiled is no matter: it has other names.
    """
    folder = folder or cache_folder()
    what = f"Triton's compile cache {folder}"
    if not folder.exists():
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
            raise InputError(f"{what} cannot be made, since {above} cannot be written: {_CURE}")
        return
    if not folder.is_dir():
        raise InputError(f"{what} is no folder: {_CURE}")
    if owner := _foreign(folder):
        raise InputError(f"{what} belongs to user {owner}, whose compiled kernels are not run: {_CURE}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"{what} cannot be read and written: {_CURE}")
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and (why := _spoiled(entry)):
            raise InputError(f"entry {entry.name} of {what} {why}: remove {entry}, or {_CURE}")


def _spoiled(entry: Path) -> str | None:
    """Say why an entry of the cache cannot be used; None where it can."""
    if owner := _foreign(entry):
        return f"belongs to user {owner}"
    if not os.access(entry, os.R_OK | os.W_OK | os.X_OK):
        return "cannot be read and written"
    for file in entry.iterdir():
        if not os.access(file, os.R_OK):
            return f"holds {file.name}, which cannot be read"
        if file.suffix == ".json" and file.stat().st_size == 0:
            return f"holds {file.name}, which is empty: it was cut off"
    return None


def _foreign(path: Path) -> str | None:
    """Return the name of the user that a path belongs to, None where that is this one."""
    owner = os.stat(path)[stat.ST_UID]
    if owner == os.geteuid():
        return None
    try:
        import pwd

        return pwd.getpwuid(owner).pw_name
    except (ImportError, KeyError):
        return str(owner)
