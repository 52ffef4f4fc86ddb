import sys
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.compare import compare
from bench.devices import CPU, Device
from bench.environment import (
    COMPARABILITY,
    IMMATERIAL,
    Matter,
    describe,
    differences,
    package_version,
    torch_cuda_version,
)
from kernels.c_compiler import compiler_version
from tests.bench import builders
from tests.bench.meters import fake_nvml


def test_a_cpu_is_described_without_gpu_facts() -> None:
    fields = describe(CPU).fields
    assert fields["device"] == "cpu"
    assert fields["cpu.model"]
    assert isinstance(fields["cpu.threads"], int)
    assert str(fields["python.version"]).startswith("3.")
    assert fields["torch.version"] == package_version("torch")
    assert not any(name.startswith("gpu.") for name in fields)


def test_a_gpu_is_described_as_far_as_its_library_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml)
    fields = describe(Device("cuda:0", "NVIDIA H100", fake_nvml.PCI_ID, 132, 80)).fields
    assert (fields["gpu.driver"], fields["gpu.power_limit_watts"], fields["gpu.ecc"]) == (
        "570.86",
        700.0,
        True,
    )
    assert (fields["gpu.sm_count"], fields["gpu.memory_bytes"]) == (132, 80)
    assert fields["gpu.mig"] is None


def test_the_clock_policy_of_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml)
    fields = describe(Device("cuda:0", "NVIDIA H100", fake_nvml.PCI_ID, 132, 80)).fields
    policy = {
        "gpu.power_limit_default_watts": 650.0,
        "gpu.application_clock_mhz": 1755,
        "gpu.application_memory_clock_mhz": 2619,
        "gpu.default_application_clock_mhz": None,
        "gpu.max_clock_mhz": 1980,
        "gpu.persistence": True,
    }
    assert policy.items() <= fields.items()


def test_the_cuda_version_of_torch_is_read_without_importing_it() -> None:
    import torch

    assert torch_cuda_version() == torch.version.cuda


def test_an_absent_package_has_no_version() -> None:
    assert package_version("no-such-package-at-all") is None


def test_the_code_may_differ_between_comparable_runs() -> None:
    runs = [builders.run([], fields={"git.commit": commit}) for commit in "ab"]
    assert differences(*runs) == []


@pytest.mark.parametrize("matter", COMPARABILITY, ids=lambda matter: matter.name)
def test_runs_that_differ_in_a_fact_that_matters_are_refused_by_its_name(
    matter: Matter, tmp_path: Path
) -> None:
    cells = [builders.cell()]
    runs = [builders.run(cells, name, fields={matter.field: value}) for name, value in (("a", 1), ("b", 2))]
    assert differences(*runs) == [(matter, 1, 2)]
    folders = [builders.write(run, [builders.record(cells[0])], tmp_path) for run in runs]
    with pytest.raises(InputError) as refusal:
        compare(*folders)
    assert f"runs differ in {matter.label}: '1' in a, '2' in b" in str(refusal.value)
    assert str(refusal.value).endswith(f"--allow {matter.name}")
    assert compare(*folders, allow=[matter.name]).allowed == (f"{matter.label}: 1 → 2",)


def test_whatever_is_written_down_either_matters_or_is_known_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml)
    gpu = describe(Device("cuda:0", "NVIDIA H100", fake_nvml.PCI_ID, 132, 80)).fields
    matter = {each.field for each in COMPARABILITY}
    assert (gpu.keys() | describe(CPU).fields.keys()) - matter == IMMATERIAL
    assert not matter & IMMATERIAL
    assert {field for field in matter if field.startswith(("gpu.", "cpu."))} <= gpu.keys()


def test_differences_to_allow_have_distinct_names() -> None:
    assert len({matter.name for matter in COMPARABILITY}) == len(COMPARABILITY)


def test_what_decodes_the_video_and_compiles_the_engine_is_described() -> None:
    import av

    fields = describe(CPU).fields
    decoder = ".".join(map(str, av.library_versions["libavcodec"]))
    assert (fields["ffmpeg.libavcodec"], fields["av.version"]) == (decoder, av.__version__)
    assert fields["compiler.version"] == compiler_version()


def test_the_compiler_is_the_one_that_cc_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "mycc"
    compiler.write_text("#!/bin/sh\necho mycc 1.2\necho more\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert compiler_version() == "mycc 1.2"
    monkeypatch.setenv("CC", "no-such-compiler")
    assert compiler_version() is None


def test_a_fact_that_an_older_run_did_not_record_is_not_known_to_differ() -> None:
    older, newer = builders.run([], fields={}), builders.run([], fields={"av.version": "18.1.0"})
    assert differences(older, newer) == differences(newer, older) == []
