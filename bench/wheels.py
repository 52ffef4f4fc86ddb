"""Wheels: packages that a Python lacks, taken from a folder instead of a registry and put on the path alone.

For machines that have torch, are not ours to install into and reach no network. Imports the standard library
and nothing else: what else there is shows only afterwards.
"""

import atexit
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path

from autogaze.errors import InputError

OPTION = "--wheels"
_MODULES = {"pillow": "PIL", "scikit-image": "skimage", "pyyaml": "yaml"}
"""Modules that are not called like their package."""
_UNNEEDED = ("av", "nvidia-ml-py")
"""What measuring on a GPU does without."""


def missing_packages(pyproject: Path, unneeded: Sequence[str] = _UNNEEDED) -> list[str]:
    """Return the packages that ``pyproject`` requires and that this interpreter lacks, ``unneeded`` apart."""
    import tomllib

    required = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required]
    return [name for name in names if name not in unneeded and not _is_importable(name)]


def _is_importable(package: str) -> bool:
    # By what is imported: builds of one package have several names.
    return util.find_spec(_MODULES.get(package, package.replace("-", "_"))) is not None


def check_packages(pyproject: Path, given: bool = False) -> None:
    """Raise ``InputError`` where this interpreter is too old, or lacks packages that measuring needs; with
    wheels ``given``, these are what is missing still."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever Python make was given
        raise InputError(f"{sys.executable} is too old: name Python 3.11 or newer with PYTHON=")
    missing = missing_packages(pyproject)
    if not missing:
        return
    lacks = f"{sys.executable} lacks {', '.join(missing)}" + (", and so does the folder of wheels" * given)
    raise InputError(
        f"gpu-check runs with the Python that is there, and {lacks}: install them, or fetch them where there "
        f"is a network with {download_command(missing)} and give WHEELS=wheels; without them "
        "python -m bench.first_contact does the first part"
    )


def download_command(packages: Sequence[str]) -> str:
    """Return the command that fetches packages, and what these need, for this interpreter."""
    version = ".".join(map(str, sys.version_info[:2]))
    return f"pip download --only-binary=:all: --python-version {version} --dest wheels {' '.join(packages)}"


def folder_in(words: Sequence[str]) -> Path | None:
    """Return the folder that a command line names with ``--wheels``; None where it names none."""
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name == OPTION and (value if equals else following):
            return Path(value if equals else following)
    return None


def use(folder: Path) -> Path | None:
    """Put the packages of ``folder`` that this interpreter lacks on its path and on that of the processes it
    starts; return the folder they were unpacked into, which goes with this process, or None where nothing is
    lacking.

    Raises ``InputError`` for a folder without wheels, and for wheels that do not fit this interpreter.
    """
    names = [name for name in _packages_in(folder) if not _is_installed(name)]
    if not names:
        return None
    if util.find_spec("pip") is None:
        raise InputError(
            f"{sys.executable} has no pip to unpack the wheels in {folder} with: unzip them into a folder, "
            "and put that on PYTHONPATH"
        )
    target = Path(tempfile.mkdtemp(prefix="wheels-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    command = (
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-index", "--no-deps", "--find-links", str(folder), "--target", str(target)),
    )
    done = subprocess.run([*command, *names], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        version = ".".join(map(str, sys.version_info[:2]))
        raise InputError(
            f"wheels in {folder} cannot be used ({said}): bring wheels for Python {version}, such as "
            f"{download_command(names)} fetches"
        )
    sys.path.append(str(target))
    importlib.invalidate_caches()
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(target), *([before] if before else [])])
    return target


def _packages_in(folder: Path) -> list[str]:
    try:
        names = {path.name.split("-")[0] for path in folder.iterdir() if path.suffix == ".whl"}
    except OSError as error:
        raise InputError(
            f"folder of wheels {folder} cannot be read ({error.strerror}): name one with WHEELS="
        ) from error
    if not names:
        raise InputError(
            f"folder {folder} holds no wheels: put some there, such as "
            f"{download_command(['pydantic', 'typer'])} fetches"
        )
    return sorted(re.sub(r"[-_.]+", "-", name).lower() for name in names)


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
