import sys
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.commands import gpu_check
from bench.commands.gpu_check import Step, check, make_folder, refuse_cpu, standard_steps
from bench.devices import CPU, Device
from bench.records import Status
from suites.loader import suite_names
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


def test_the_standard_steps_measure_known_suites_on_the_device_and_test_what_is_there(tmp_path: Path) -> None:
    steps = {step.name: step.command for step in standard_steps(tmp_path, GPU)}
    assert list(steps) == ["clip", "engines", "kernels", "attention", "tests"]
    for name in ("engines", "kernels", "attention"):
        assert name in suite_names()
        assert "cuda:0" in steps[name]
    assert all((Path(__file__).parents[3] / folder).is_dir() for folder in gpu_check.TESTS)
    assert str(tmp_path / "street.npz") in steps["clip"]


def test_without_a_gpu_it_is_refused_unless_the_cpu_is_named() -> None:
    with pytest.raises(InputError, match=r"no CUDA device .* try the steps out with GPU=cpu"):
        refuse_cpu(CPU, "auto")
    refuse_cpu(CPU, "cpu")
    refuse_cpu(GPU, "auto")


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be written"):
        make_folder(Path("/dev/null/out"), CPU)
