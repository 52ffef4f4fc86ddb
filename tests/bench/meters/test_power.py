import sys
from pathlib import Path

import pytest

from bench.meters.power import NoMeter, NvmlMeter, RaplMeter, open_meter
from tests.bench.meters import fake_nvml


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml)


def powercap(folder: Path, **microjoules: int) -> Path:
    for name, value in microjoules.items():
        package = folder / name.replace("_", ":").replace("intel:rapl", "intel-rapl")
        package.mkdir(exist_ok=True)
        (package / "energy_uj").write_text(str(value))
        (package / "max_energy_range_uj").write_text("1000000")
    return folder


@pytest.mark.usefixtures("nvml")
def test_a_gpu_tells_energy_in_joules_and_its_state() -> None:
    meter = open_meter(fake_nvml.PCI_ID)
    assert isinstance(meter, NvmlMeter)
    assert meter.energy_joules() == 2.5
    telemetry = meter.telemetry()
    assert (telemetry["power_watts"], telemetry["sm_clock_mhz"]) == (350.0, 1980)


@pytest.mark.usefixtures("nvml")
def test_throttle_reasons_are_named_and_idling_is_none() -> None:
    assert open_meter(fake_nvml.PCI_ID).telemetry()["throttle_reasons"] == "SwPowerCap"


@pytest.mark.usefixtures("nvml")
def test_a_sensor_the_gpu_lacks_is_left_out() -> None:
    assert "temperature_celsius" not in open_meter(fake_nvml.PCI_ID).telemetry()


@pytest.mark.usefixtures("nvml")
def test_a_gpu_the_library_does_not_know_has_no_meter() -> None:
    meter = open_meter("0000:FF:00.0")
    assert isinstance(meter, NoMeter)
    assert (meter.energy_joules(), meter.telemetry()) == (None, {})


def test_without_the_library_a_gpu_has_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert isinstance(open_meter(fake_nvml.PCI_ID), NoMeter)


def test_cpu_packages_add_up_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    meter = open_meter(None, powercap(tmp_path, intel_rapl_0=100, intel_rapl_1=200, intel_rapl_0_0=50))
    assert isinstance(meter, RaplMeter)
    powercap(tmp_path, intel_rapl_0=300_100, intel_rapl_1=500_200, intel_rapl_0_0=90_000)
    assert meter.energy_joules() == pytest.approx(0.8)


def test_a_counter_that_starts_again_at_zero_is_followed(tmp_path: Path) -> None:
    meter = open_meter(None, powercap(tmp_path, intel_rapl_0=900_000))
    powercap(tmp_path, intel_rapl_0=100_000)
    assert meter.energy_joules() == pytest.approx(0.2)
    powercap(tmp_path, intel_rapl_0=200_000)
    assert meter.energy_joules() == pytest.approx(0.3)


def test_a_cpu_without_readable_counters_has_no_meter(tmp_path: Path) -> None:
    assert isinstance(open_meter(None, tmp_path), NoMeter)
    (tmp_path / "intel-rapl:0").mkdir()
    assert isinstance(open_meter(None, tmp_path), NoMeter)
