import os
from pathlib import Path

import pytest

from bench.processor import describe_cpu, ranges


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Path]:
    """Files of a machine whose processes may use all there is."""
    (tmp_path / "system").mkdir()
    (tmp_path / "groups" / "bench").mkdir(parents=True)
    write(tmp_path / "cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC 9R14\n")
    write(tmp_path / "own", "3:cpuset:/\n0::/bench\n")
    return {
        "cpuinfo": tmp_path / "cpuinfo",
        "system": tmp_path / "system",
        "own_group": tmp_path / "own",
        "groups": tmp_path / "groups",
    }


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def only_cores(monkeypatch: pytest.MonkeyPatch, *cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(cores), raising=False)


def test_model_and_cores_allowed_are_told(machine: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    only_cores(monkeypatch, 0, 1, 2, 8)
    found = describe_cpu(**machine)
    assert (found["cpu.model"], found["cpu.cores"], found["cpu.threads"]) == ("AMD EPYC 9R14", "0-2,8", 4)


def test_what_the_system_does_not_tell_is_not_known(machine: dict[str, Path]) -> None:
    found = describe_cpu(**machine)
    assert {found[f"cpu.{name}"] for name in ("quota", "governor", "turbo", "smt")} == {None}


def test_the_governor_is_that_of_the_cores_allowed(
    machine: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for core, governor in enumerate(("performance", "performance", "powersave")):
        write(machine["system"] / f"cpu{core}/cpufreq/scaling_governor", f"{governor}\n")
    only_cores(monkeypatch, 0, 1)
    assert describe_cpu(**machine)["cpu.governor"] == "performance"
    only_cores(monkeypatch, 1, 2)
    assert describe_cpu(**machine)["cpu.governor"] == "performance|powersave"


@pytest.mark.parametrize(
    ("file", "text", "is_on"),
    [
        ("cpufreq/boost", "1\n", True),
        ("cpufreq/boost", "0\n", False),
        ("intel_pstate/no_turbo", "0\n", True),
        ("intel_pstate/no_turbo", "1\n", False),
    ],
)
def test_turbo_is_read_from_either_driver(
    machine: dict[str, Path], file: str, text: str, is_on: bool
) -> None:
    write(machine["system"] / file, text)
    assert describe_cpu(**machine)["cpu.turbo"] is is_on


@pytest.mark.parametrize(
    ("own", "outer", "quota"),
    [("150000 100000", "max 100000", 1.5), ("max 100000", "200000 100000", 2.0), ("max 100000", None, None)],
)
def test_the_tightest_limit_of_the_control_groups_counts(
    machine: dict[str, Path], own: str, outer: str | None, quota: float | None
) -> None:
    write(machine["groups"] / "bench" / "cpu.max", own)
    if outer is not None:
        write(machine["groups"] / "cpu.max", outer)
    assert describe_cpu(**machine)["cpu.quota"] == quota


def test_cores_are_written_as_the_system_writes_them() -> None:
    assert ranges([]) == ""
    assert ranges([5]) == "5"
    assert ranges([3, 2, 0, 7, 8]) == "0,2-3,7-8"
