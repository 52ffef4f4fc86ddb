import sys
from types import SimpleNamespace

import pytest

from autogaze.models.autogaze import engines
from bench.commands import doctor
from bench.devices import CPU, Device
from bench.meters.instructions import NoCounter


@pytest.fixture(autouse=True)
def backends(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"sdpa": None, "triton": "needs a CUDA device"}
    fake = SimpleNamespace(available_backends=lambda device, dtype: reasons)
    monkeypatch.setitem(sys.modules, "autogaze.attention", fake)
    obstacles = {"eager": None, "native": "needs a C compiler and there is none; install gcc"}
    fakes = {
        name: engines.Engine(lambda arch, device, dtype, why=why: why) for name, why in obstacles.items()
    }
    monkeypatch.setattr(engines, "ENGINES", fakes)


def findings() -> dict[tuple[str, str], doctor.Finding]:
    return {(finding.area, finding.subject): finding for finding in doctor.examine()}


def test_the_cpu_its_dtypes_and_its_backends_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_devices", lambda: (CPU,))
    found = findings()
    assert found["devices", "cpu"].usable
    assert found["dtypes on cpu", "float32"].usable
    assert found["attention on cpu", "sdpa"].usable
    assert found["attention on cpu", "triton"].remark == "needs a CUDA device"
    assert found["engines on cpu", "eager"].usable
    assert not found["engines on cpu", "native"].usable
    assert "install gcc" in found["engines on cpu", "native"].remark
    assert not found["devices", "CUDA"].usable


def test_a_gpu_that_torch_cannot_use_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Device("cuda:0", "NVIDIA H100", "0000:01:00.0", 132, 80)
    monkeypatch.setattr(doctor, "find_devices", lambda: (gpu, CPU))
    monkeypatch.setattr(doctor, "torch_cuda_version", lambda: None)
    finding = findings()["devices", "NVIDIA H100"]
    assert not finding.usable
    assert "torch is built without CUDA" in finding.remark


def test_an_absent_package_comes_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda package: None)
    finding = findings()["packages", "lpips"]
    assert not finding.usable
    assert "pip install '.[lpips]'" in finding.remark


@pytest.mark.parametrize("obstacle", [None, "the container does not let a process count"])
def test_whether_instructions_can_be_counted_is_said_once(
    monkeypatch: pytest.MonkeyPatch, obstacle: str | None
) -> None:
    counter = NoCounter()
    counter.obstacle = obstacle
    monkeypatch.setattr(doctor, "open_counter", lambda: counter)
    (found,) = [finding for finding in doctor.examine() if finding.area == "instructions"]
    assert found.usable is (obstacle is None)
    assert obstacle is None or found.remark == obstacle
