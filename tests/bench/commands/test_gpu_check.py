import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench import journal
from bench.commands import gpu_check, packing
from bench.commands.gpu_check import Step, check, make_folder, refuse_cpu, standard_steps
from bench.devices import CPU, Device
from bench.first_contact.__main__ import PARTS
from bench.first_contact.lines import Lines
from bench.records import Status
from suites.catalogue import refuse_in_vain
from suites.loader import load_suite, suite_names
from tests.bench import builders

GPU = Device("cuda:0", "NVIDIA H200", "0000:01:00.0", 132, 2**37)
MEASURES = (
    "import sys; from pathlib import Path; from bench.records import Status; "
    "from tests.bench import builders; "
    "cells = [builders.cell(i) for i in range(3)]; "
    "builders.write(builders.run(cells, sys.argv[2]), "
    "[builders.record(cells[0]), builders.record(cells[1], status=Status(sys.argv[3]))], Path(sys.argv[1]))"
)
"""A program that leaves a run of three cells: one ok, one of the status named, one not measured."""


@pytest.fixture(autouse=True)
def from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))


def python(name: str, program: str, *arguments: object) -> Step:
    return Step(name, (sys.executable, "-c", program, *map(str, arguments)), 1)


def test_a_step_that_fails_does_not_stop_the_next_and_is_counted(tmp_path: Path) -> None:
    steps = (
        python("broken", "print('about to break'); raise SystemExit(3)"),
        python("fine", "print('all is well')"),
    )
    said: list[str] = []
    broken, fine = check(tmp_path, steps, CPU, 600, said.append)
    assert (broken.exit_code, broken.failed) == (3, True)
    assert (fine.exit_code, fine.failed) == (0, False)
    assert (tmp_path / "broken.log").read_text() == "about to break\n"
    assert (tmp_path / "fine.log").read_text() == "all is well\n"
    summary = (tmp_path / "summary.txt").read_text()
    assert "FAILED broken" in summary
    assert "exit code 3" in summary
    assert "ok     fine" in summary
    assert any(line.startswith("FAILED broken") for line in said)


def test_a_step_is_cut_off_at_its_share_and_can_write_down_what_it_has(tmp_path: Path) -> None:
    waits = "trap 'echo kept; exit 130' INT; tail -f /dev/null & wait"
    endless = Step("endless", ("sh", "-c", waits), 1)
    cut, last = check(tmp_path, (endless, python("last", "")), CPU, 2, print)
    assert cut.exit_code is None
    assert not cut.failed
    assert (tmp_path / "endless.log").read_text() == "kept\n"
    assert last.step.name == "last"
    assert "cut    endless" in (tmp_path / "summary.txt").read_text()
    assert "cut off at its share of the time" in (tmp_path / "summary.txt").read_text()


@pytest.mark.parametrize(("status", "failed"), [(Status.FAILED, True), (Status.UNSUPPORTED, False)])
def test_the_cells_of_a_step_are_counted_and_reported(tmp_path: Path, status: Status, failed: bool) -> None:
    (outcome,) = check(
        tmp_path, (python("measures", MEASURES, tmp_path, "one", status.value),), CPU, 600, print
    )
    assert dict(outcome.cells) == {"ok": 1, status.value: 1, "not_run": 1}
    assert outcome.failed is failed
    assert f"1 ok, 1 {status.value}, 1 not run" in (tmp_path / "summary.txt").read_text()
    assert (tmp_path / "report" / "report.md").stat().st_size


def test_only_the_cells_of_its_own_run_are_a_steps(tmp_path: Path) -> None:
    cell = builders.cell()
    builders.write(builders.run([cell], "earlier"), [builders.record(cell)], tmp_path)
    (outcome,) = check(tmp_path, (python("nothing", ""),), CPU, 600, print)
    assert outcome.cells == ()


def test_the_standard_steps_ask_first_and_then_measure_known_suites_and_test_what_is_there(
    tmp_path: Path,
) -> None:
    steps = {step.name: step.command for step in standard_steps(tmp_path, GPU)}
    assert list(steps) == [
        *("clip", "contact", "variants", "counters", "memcheck", "patches"),
        *("engines", "kernels", "attention", "tests"),
    ]
    for name in ("engines", "kernels", "attention"):
        assert name in suite_names()
        refuse_in_vain(load_suite(name), ["--video"] if "--video" in steps[name] else [])
    assert "--video" in steps["engines"]  # without PyAV the embedded clip cannot be read
    for name in ("contact", "variants"):
        assert name in PARTS
        assert {"--pci-id", "0000:01:00.0"} <= set(steps[name])
        assert "--small" not in steps[name]
    for name in set(steps) - {"clip", "patches", "tests"}:
        assert "cuda:0" in steps[name]
    root = Path(__file__).parents[3]
    assert all((root / word.removeprefix("--ignore=")).exists() for word in gpu_check.TESTS)
    assert steps["patches"][-1] == gpu_check.PATCH_TEST
    assert str(tmp_path / "street.npz") in steps["clip"]


def test_a_cpu_is_asked_little_and_is_not_watched(tmp_path: Path) -> None:
    steps = {step.name: step for step in standard_steps(tmp_path, CPU)}
    assert "--small" in steps["contact"].command
    assert steps["counters"].obstacle == "ncu watches a GPU, and this is a CPU"


def test_a_program_that_is_not_there_makes_its_step_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"ncu"}
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}" if program in here else None)
    obstacles = {step.name: step.obstacle for step in standard_steps(tmp_path, GPU)}
    assert obstacles["counters"] is None
    assert "compute-sanitizer is not on PATH" in str(obstacles["memcheck"])
    monkeypatch.setattr(gpu_check.util, "find_spec", lambda name: None if name == "hypothesis" else object())
    obstacles = {step.name: step.obstacle for step in standard_steps(tmp_path, GPU)}
    assert obstacles["patches"] == obstacles["tests"] == "tests need hypothesis; WHEELS= may bring them"


def test_a_step_that_is_skipped_costs_no_time_and_the_summary_says_why(tmp_path: Path) -> None:
    skipped = Step("counters", ("false",), 1e9, obstacle="ncu is not on PATH")
    first, last = check(tmp_path, (skipped, python("last", "")), CPU, 600, print)
    assert not first.failed
    assert last.exit_code == 0
    assert "skip   counters           ncu is not on PATH" in (tmp_path / "summary.txt").read_text()


def test_a_step_that_may_fail_is_no_failure(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit(1)")
    (outcome,) = check(tmp_path, (Step("counters", command, 1, optional=True),), CPU, 600, print)
    assert not outcome.failed
    assert "gave up counters" in (tmp_path / "summary.txt").read_text()


def test_the_summary_names_the_answers_that_are_wrong(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "contact.jsonl")
    lines.write("versions", "ok")
    lines.write("patches triton", "wrong", right=False)
    lines.write("capture", "failed", reason="the process died of SIGABRT")
    lines.close()
    check(tmp_path, (python("nothing", ""),), CPU, 600, print)
    summary = (tmp_path / "summary.txt").read_text()
    assert "contact: 1 ok, 1 wrong, 1 failed" in summary
    assert "wrong         patches triton: see the file" in summary
    assert "failed        capture: the process died of SIGABRT" in summary


def test_what_a_check_leaves_is_packed_into_a_few_files_that_hold_all_of_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    steps = (python("measures", MEASURES, work, "one", "ok"), python("prints", "print('all is well')"))
    check(work, steps, CPU, 600, print)
    for part in ("contact", "variants"):
        Lines(work / f"{part}.jsonl").close()
    (work / "traces").mkdir()
    (work / "traces" / "step.json.gz").write_bytes(b"trace")
    (work / "street.npz").write_bytes(b"painted again in no time")
    names = {path.name for path in packing.pack(work, tmp_path)}
    assert names == {
        *("summary.txt", "contact.jsonl", "variants.jsonl", "logs.txt"),
        *("report.html", "report.tar.gz", "runs.tar.gz", "traces.tar.gz"),
    }
    assert len(names) <= packing.MOST_FILES
    assert {path.name for path in tmp_path.iterdir()} == names
    assert "== prints\nall is well\n" in (tmp_path / "logs.txt").read_text()
    with tarfile.open(tmp_path / "runs.tar.gz") as archive:
        archive.extractall(tmp_path / "again", filter="data")
    assert len(journal.read_run(tmp_path / "again" / "one")[1]) == 2
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        assert "report/report.md" in archive.getnames()


def test_of_a_check_that_was_cut_off_there_is_packed_what_there_is(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "clip.log").write_bytes(b"x" * (2 << 20))
    assert [path.name for path in packing.pack(work, tmp_path)] == ["logs.txt"]
    assert (tmp_path / "logs.txt").read_bytes().startswith(b"== clip\n[...]\nxxx")
    assert os.path.getsize(tmp_path / "logs.txt") < (1 << 20) + 100


def test_without_a_gpu_it_is_refused_unless_the_cpu_is_named() -> None:
    with pytest.raises(InputError, match=r"no CUDA device .* try the steps out with GPU=cpu"):
        refuse_cpu(CPU, "auto")
    refuse_cpu(CPU, "cpu")
    refuse_cpu(GPU, "auto")


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be written"):
        make_folder(Path("/dev/null/out"), CPU)
