"""Packages that a Python lacks are taken from a folder of wheels, for this process and those it starts."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench import wheels

REPOSITORY = Path(__file__).parents[2]


def make_wheel(folder: Path, name: str, tag: str = "py3-none-any") -> Path:
    """Write a wheel of one module that says which it is."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"{name}-1.0-{tag}.whl", f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"NAME = '{name}'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(autouse=True)
def path_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def test_a_package_that_is_lacking_is_there_afterwards_and_in_processes_too(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", "brought_along")
    make_wheel(tmp_path / "wheels", "numpy")  # which this Python has, and keeps
    target = wheels.use(tmp_path / "wheels")
    assert target is not None
    assert {path.name for path in target.iterdir() if path.suffix == ".py"} == {"brought_along.py"}
    assert str(target) in sys.path
    code = "import brought_along, numpy; print(brought_along.NAME, numpy.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "brought_along"
    assert os.environ["PYTHONPATH"].endswith(str(REPOSITORY))


def test_where_nothing_is_lacking_nothing_is_unpacked(tmp_path: Path) -> None:
    make_wheel(tmp_path, "numpy")
    before = [*sys.path]
    assert wheels.use(tmp_path) is None
    assert sys.path == before


def test_wheels_of_another_python_are_refused_with_the_command_that_fetches_the_right_ones(
    tmp_path: Path,
) -> None:
    make_wheel(tmp_path, "brought_along", "cp27-cp27m-win32")
    with pytest.raises(InputError, match=r"cannot be used .* pip download .* brought-along fetches"):
        wheels.use(tmp_path)


def test_a_folder_without_wheels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no wheels: put some there, such as pip download"):
        wheels.use(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        wheels.use(tmp_path / "none")


def test_packages_that_are_not_there_are_named(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(
        '[project]\ndependencies = ["pytest>=8", "no-such-package>=1; python_version", "av"]\n'
    )
    assert wheels.missing_packages(pyproject) == ["no-such-package"]
    assert wheels.missing_packages(REPOSITORY / "pyproject.toml") == []
    with pytest.raises(InputError) as refusal:
        wheels.check_packages(pyproject)
    version = ".".join(map(str, sys.version_info[:2]))
    assert "lacks no-such-package: install them, or fetch them" in str(refusal.value)
    assert (
        f"pip download --only-binary=:all: --python-version {version} --dest wheels no-such-package"
        in str(refusal.value)
    )
    with pytest.raises(InputError, match="lacks no-such-package, and so does the folder of wheels"):
        wheels.check_packages(pyproject, given=True)


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["gpu-check", "--wheels", "w", "--gpu", "cpu"], Path("w")),
        (["gpu-check", "--wheels=w"], Path("w")),
        (["gpu-check", "--wheels"], None),
        (["gpu-check"], None),
    ],
)
def test_the_folder_is_found_on_the_command_line(words: list[str], folder: Path | None) -> None:
    assert wheels.folder_in(words) == folder


def test_the_command_line_brings_its_packages_before_it_needs_them(tmp_path: Path) -> None:
    """The command line needs typer; a Python that lacks it says so, or takes it from the folder."""
    make_wheel(tmp_path / "wheels", "brought_along")
    script = (
        "import sys, bench.__main__ as main\n"
        "main.NEEDED = ('brought_along',)\n"
        "main.bring_packages()\n"
        "import brought_along; print(brought_along.NAME)"
    )
    command = [sys.executable, "-c", script, "gpu-check"]
    without = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert without.returncode == 2
    assert without.stderr.startswith("error: bench needs the package brought_along")
    with_them = subprocess.run(
        [*command, "--wheels", tmp_path / "wheels"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert with_them.stdout == "brought_along\n", with_them.stderr


def test_wheels_are_brought_with_the_standard_library_alone() -> None:
    done = subprocess.run([sys.executable, "-S", "-c", "import bench.wheels"], cwd=REPOSITORY)
    assert done.returncode == 0
