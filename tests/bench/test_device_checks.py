"""What is wrong with driver or compile cache is one sentence before anything runs."""

import os
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench import device_checks
from bench.commands import measuring
from bench.device_checks import cache_folder, check_compile_cache, check_device, check_driver
from bench.devices import CPU, Device

GPU = Device("cuda:0", "NVIDIA H100", "0000:01:00.0", 132, 2**36)


def test_a_driver_that_is_too_old_is_named_with_the_one_that_is_needed(tmp_path: Path) -> None:
    version = tmp_path / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC\n"
    )
    with pytest.raises(InputError) as refusal:
        check_driver((12, 2), "13.0", version)
    assert str(refusal.value) == (
        "the NVIDIA driver 535.104.05 runs CUDA 12.2 at most, and torch is built for CUDA 13.0, which needs "
        "driver 580.65.06 or newer: update the driver, or install a torch built for CUDA 12"
    )


def test_the_open_driver_tells_its_version_as_well(tmp_path: Path) -> None:
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n")
    with pytest.raises(InputError, match=r"driver 570\.86\.10 runs CUDA 12\.8"):
        check_driver((12, 8), "13.0", version)


@pytest.mark.parametrize(
    ("runs", "cuda"),
    [((12, 2), "12.8"), ((13, 0), "12.8"), ((13, 0), "13.1"), (None, "13.0"), ((12, 2), None)],
)
def test_a_driver_of_the_same_major_version_does(runs: tuple[int, int] | None, cuda: str | None) -> None:
    check_driver(runs, cuda)


def test_a_cache_that_is_not_there_yet_or_is_our_own_does(tmp_path: Path) -> None:
    check_compile_cache(tmp_path / "none" / "yet")
    entry = tmp_path / "cache" / "ABC"
    entry.mkdir(parents=True)
    (entry / "step.json").write_text("{}")
    check_compile_cache(tmp_path / "cache")


def test_a_cache_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(InputError, match=rf"cache {tmp_path} belongs to user \w+.*TRITON_CACHE_DIR="):
        check_compile_cache(tmp_path)


def test_an_entry_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ABC").mkdir()
    foreign = device_checks._foreign
    monkeypatch.setattr(
        device_checks, "_foreign", lambda path: "nobody" if path.name == "ABC" else foreign(path)
    )
    with pytest.raises(InputError, match=r"entry ABC of .* belongs to user nobody: remove .*ABC, or name"):
        check_compile_cache(tmp_path)


def test_a_cache_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be read and written: name a folder of your own"):
        check_compile_cache(tmp_path)
    with pytest.raises(InputError, match=f"cannot be made, since {tmp_path} cannot be written"):
        check_compile_cache(tmp_path / "none")


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(InputError, match="is no folder"):
        check_compile_cache(tmp_path / "cache")
    with pytest.raises(InputError, match="cannot be made"):
        check_compile_cache(tmp_path / "cache" / "inside")


def test_an_entry_that_was_cut_off_is_refused_with_what_to_remove(tmp_path: Path) -> None:
    (tmp_path / "ABC").mkdir()
    (tmp_path / "ABC" / "__grp__step.json").touch()
    with pytest.raises(InputError, match=r"holds __grp__step\.json, which is empty: it was cut off: remove"):
        check_compile_cache(tmp_path)


def test_the_cache_is_where_triton_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("triton")
    for name in ("TRITON_CACHE_DIR", "TRITON_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() == Path(triton.knobs.cache_knobs().dir)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path


def test_devices_are_checked_where_they_are_named_and_a_cpu_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "find_devices", lambda: (GPU, CPU))
    monkeypatch.setattr(measuring, "torch_cuda_version", lambda: "13.0")
    monkeypatch.setattr(device_checks, "driver_cuda_version", lambda: (12, 2))
    with pytest.raises(InputError, match="torch is built for CUDA 13"):
        measuring.devices_named("h100")
    with pytest.raises(InputError, match="torch is built for CUDA 13"):
        check_device(GPU, "13.0")
    assert measuring.devices_named("cpu") == (CPU,)
