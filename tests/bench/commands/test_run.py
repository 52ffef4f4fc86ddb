"""``bench run``: exit codes, last lines, resuming, and what ``--json`` prints."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reports
from bench import journal
from bench.cli import main
from bench.commands import invocation, machine
from bench.records import Status
from tests.bench.documents import documented, keys
from tests.bench.fake_workload import write_suite

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have tests of their own; these leave the file that a person opens."""

    def write_all(folder: Path) -> list[Path]:
        (folder / "report.html").touch()
        return [folder / "report.html"]

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setattr(reports, "print_table", lambda folder, console: console.print("the table"))
    monkeypatch.setattr(reports, "write_all", write_all)


def bench(*arguments: object, typed: tuple[str, ...] | None = None) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments], typed)
    return int(end.value.code or 0)


def run(folder: Path, behaviours: list[str], *arguments: object) -> int:
    """Measure a suite of such cells; the run lies in ``folder``'s ``out``."""
    suite = write_suite(folder, behaviours)
    return bench("run", "--suite", suite, "--gpu", "cpu", "--out", folder / "out", *arguments)


def cut_off(folder: Path, statuses: list[Status | None]) -> Path:
    """Write a run of fake cells whose journal ends early: None is a cell that has no record yet."""
    suite = write_suite(folder, ["good"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", folder / "out", "--chunk", "2,4,8") == 0
    (run,) = (folder / "out").iterdir()
    _, records = journal.read_run(run)
    (run / journal.JOURNAL_FILE).write_text("")
    with journal.appending(run) as append:
        for record, status in zip(records, statuses, strict=True):
            if status is not None:
                append(record.model_copy(update={"status": status}))
    return run


@pytest.mark.parametrize(
    ("behaviours", "code", "count"),
    [
        (["good", "unavailable"], 0, "1 of 2 cells not ok: 1 unsupported"),
        (["good", "raise"], 1, "1 of 2 cells not ok: 1 failed"),
        (["good", "raise", "unavailable"], 1, "2 of 3 cells not ok: 1 unsupported, 1 failed"),
        (["refuse", "unavailable"], 2, "2 of 2 cells not ok: 1 unsupported, 1 failed"),
    ],
)
def test_a_failed_cell_is_exit_code_one_and_counted_in_the_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], behaviours: list[str], code: int, count: str
) -> None:
    assert run(tmp_path, behaviours) == code
    (folder,) = (tmp_path / "out").iterdir()
    assert capsys.readouterr().out.splitlines()[-2:] == [count, f"report: {folder}/report.html"]


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.INVALID, Status.FAILED])
def test_what_should_not_happen_to_a_cell_is_exit_code_one(tmp_path: Path, status: Status) -> None:
    folder = cut_off(tmp_path, [Status.OK, status, Status.OK])
    assert bench("run", "--resume", folder) == 1


def test_a_run_that_is_resumed_with_plan_measures_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut_off(tmp_path, [Status.OK, None, None])
    assert bench("run", "--resume", "latest", "--out", tmp_path / "out", "--plan") == 0
    assert "2 cells on cpu" in capsys.readouterr().out
    assert len(journal.read_run(folder)[1]) == 1


def test_a_finished_run_says_so_and_is_not_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut_off(tmp_path, [Status.OK, None, None])
    assert bench("run", "--resume", folder) == 0
    assert "the table" in capsys.readouterr().out
    for plan in ([], ["--plan"]):
        assert bench("run", "--resume", folder, *plan) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"run {folder.name} is finished: 3 of 3 cells have a record",
            f"report: {folder}/report.html",
        ]


def test_a_finished_run_says_how_its_failures_are_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut_off(tmp_path, [Status.OK, None, Status.FAILED])
    bench("run", "--resume", folder)
    capsys.readouterr()
    assert bench("run", "--resume", folder, typed=("make", "bench")) == 1
    assert (
        "finished: 3 of 3 cells have a record; RETRY=1 measures again what failed" in capsys.readouterr().out
    )
    assert bench("run", "--resume", folder, "--retry") == 0


def test_a_run_whose_reports_are_missing_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut_off(tmp_path, [Status.OK, Status.OK, Status.OK])
    (folder / "report.html").unlink()
    assert bench("run", "--resume", folder) == 0
    assert "the table" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--suite", "smoke", "was begun with suite fake, and --suite asks for smoke: leave --suite out"),
        ("--chunk", "2", "was begun with chunk 2, 4, 8, and --chunk asks for 2"),
        ("--axis", "behaviour=raise", "was begun with behaviour good, and --axis behaviour asks for raise"),
        ("--attn", "sdpa", "was begun with attn no such axis, and --attn asks for sdpa"),
        ("--samples", "99", "was begun with samples 5, and --samples asks for 99"),
        ("--time-budget", "99", "was begun with time budget 0.001, and --time-budget asks for 99"),
        ("--seed", "3", "was begun with seed 0, and --seed asks for 3"),
        ("--video", "clip.mp4", "was begun with video the project's own, and --video asks for clip.mp4"),
        ("--geometry", "center_crop", "was begun with geometry square"),
    ],
)
def test_a_run_is_not_finished_with_other_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, sentence: str
) -> None:
    folder = cut_off(tmp_path, [Status.OK, None, None])
    assert bench("run", "--resume", folder, option, value) == 2
    assert f"error: run {folder.name} {sentence}" in capsys.readouterr().err
    assert len(journal.read_run(folder)[1]) == 1


def test_options_that_ask_for_what_the_run_has_anyway_may_stay(tmp_path: Path) -> None:
    folder = cut_off(tmp_path, [Status.OK, Status.OK, None])
    same = ("--suite", tmp_path / "fake.toml", "--gpu", "cpu", "--chunk", "8,4,2", "--seed", 0, "--video=")
    assert bench("run", "--resume", folder, *same) == 0


def test_a_run_by_make_speaks_of_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut_off(tmp_path, [Status.OK, None, None])
    assert bench("run", "--resume", folder, "--suite", "smoke", typed=("make", "bench")) == 2
    assert "SUITE= asks for smoke: leave SUITE= out" in capsys.readouterr().err
    assert invocation.again("run", "bench", resume=folder) == f"make bench RESUME={folder}"


def test_the_command_of_a_run_is_what_was_typed(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, ["good"])
    typed = ("make", "bench", f"SUITE={suite}")
    bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "make", typed=typed)
    bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "python")
    by_make, by_python = (
        journal.read_head(next((tmp_path / name).iterdir()))[1].command for name in ("make", "python")
    )
    assert by_make == typed
    assert by_python[1:4] == ("-m", "bench", "run")


def test_json_is_one_document_on_standard_output_and_text_goes_to_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, ["good", "raise"], "--json") == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert "the table" in captured.err
    assert document["exit_code"] == 1
    (found,) = document["runs"]
    assert found["statuses"] == {"ok": 1, "failed": 1}
    assert [cell["status"] for cell in found["cells"]] == ["ok", "failed"]
    assert found["cells"][0]["seconds"]["end_to_end"]["samples"] >= 5
    assert keys(document) == documented("run")


def test_a_plan_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, ["good", "raise"], "--plan", "--json") == 0
    captured = capsys.readouterr()
    (plan,) = json.loads(captured.out)["plans"]
    assert [cell["axes"]["behaviour"] for cell in plan["cells"]] == ["good", "raise"]
    assert "2 cells on cpu" in captured.err
    assert keys({"plans": [plan]}) >= documented("run --plan")


def test_numbers_that_json_does_not_have_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    machine.print_json(
        {"psnr": float("inf"), "others": [float("nan"), -float("inf"), 1.5], "status": Status.OK}
    )
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"psnr": "Infinity", "others": ["NaN", "-Infinity", 1.5], "status": "ok"}


def test_a_results_folder_that_another_owns_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    assert run(tmp_path, ["good"]) == 2
    sentence = f"error: output folder {tmp_path / 'out'} cannot be written (Permission denied): name one"
    assert sentence in capsys.readouterr().err


def test_a_run_of_another_owner_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut_off(tmp_path, [Status.OK, None, None])
    usual = Path.open

    def denied(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if path.name == journal.JOURNAL_FILE and "+" in mode:
            raise PermissionError(13, "Permission denied")
        return usual(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", denied)
    assert bench("run", "--resume", folder) == 2
    assert f"error: run {folder} cannot be written (Permission denied)" in capsys.readouterr().err


def make(*arguments: object, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run make as a shell would, with this interpreter in the place of what setting up installs."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    environment["PWD"] = str(folder)
    command = ["make", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def set_up(tmp_path: Path) -> str:
    """A folder that make takes for one that is set up."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    (folder / "installed").touch()
    return f"VENV={folder}"


def test_a_command_that_make_carried_out_in_another_folder_says_so(tmp_path: Path, set_up: str) -> None:
    suite, out = write_suite(tmp_path, ["good"]), tmp_path / "out"
    done = make("-C", REPOSITORY, set_up, "bench", f"SUITE={suite}", f"OUT={out}", "GPU=cpu", folder=tmp_path)
    (run,) = out.iterdir()
    assert done.returncode == 0, done.stderr
    assert journal.read_head(run)[1].command[:4] == ("make", "-C", str(REPOSITORY), "bench")


@pytest.mark.parametrize(("behaviour", "code"), [("good", 0), ("raise", 1), ("refuse", 2)])
def test_exit_codes_come_through_make(tmp_path: Path, set_up: str, behaviour: str, code: int) -> None:
    suite, out = write_suite(tmp_path, [behaviour]), tmp_path / "out"
    done = make(set_up, "bench", f"SUITE={suite}", f"OUT={out}", "GPU=cpu")
    assert done.returncode == code, done.stderr
    (folder,) = out.iterdir()
    assert done.stdout.splitlines()[-1] == f"report: {folder}/report.html"
    assert journal.read_head(folder)[1].command[:2] == ("make", "bench")


FRESH = """#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) echo installed >> "{log}" ;;
  *) exec "{python}" "$@" ;;
esac
"""


@pytest.mark.parametrize("target", ["bench", "list", "doctor"])
def test_every_target_sets_itself_up_once(tmp_path: Path, target: str) -> None:
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(FRESH.format(python=sys.executable, log=log))
    python.chmod(0o755)
    suite, out = write_suite(tmp_path, ["raise"]), tmp_path / "out"
    variables = {
        "bench": (f"SUITE={suite}", f"OUT={out}", "GPU=cpu"),
        "list": (f"RESULTS={out}",),
    }.get(target, ())
    asked = (f"VENV={tmp_path / 'venv'}", f"PYTHON={python}", target, *variables)
    for _ in range(2):
        done = make(*asked)
        assert done.returncode == (1 if target == "bench" else 0), done.stderr
        assert log.read_text() == "installed\n"


def test_make_refuses_a_misspelt_variable_before_it_sets_anything_up(tmp_path: Path) -> None:
    done = make(f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", "bench", "ATN=sdpa")
    assert done.returncode == 2
    assert "unknown variable of make bench 'ATN': did you mean 'ATTN'?" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_make_says_in_a_sentence_that_there_is_no_python_to_set_up_with(tmp_path: Path) -> None:
    done = make(f"VENV={tmp_path / 'venv'}", "PYTHON=/nowhere/python", "doctor")
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed, and /nowhere/python is none" in done.stderr


def test_gpu_check_says_first_which_packages_its_python_lacks(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    done = make(f"PYTHON={bare}", "gpu-check", f"OUT={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "gpu-check runs with the Python that is there, and" in done.stderr
    assert "lacks torch" in done.stderr
    assert not (tmp_path / "out").exists()


def test_make_shows_what_it_would_do_and_does_not_do_it(tmp_path: Path, set_up: str) -> None:
    suite = write_suite(tmp_path, ["good"])
    done = make("-n", set_up, "bench", f"SUITE={suite}", f"OUT={tmp_path / 'out'}")
    assert done.returncode == 0
    assert "bench.make_targets run bench OUT SUITE" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_profiled_run_has_a_trace_for_each_cell_and_can_only_be_finished_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, ["good", "unavailable"], "--profile") == 0
    (folder,) = (tmp_path / "out").iterdir()
    head, records = journal.read_run(folder)
    assert head.settings["profile"] is True
    traces = [record.details.get("profile.trace") for record in records]
    assert traces[1] is None
    assert [f"traces/{path.name}" for path in (folder / "traces").iterdir()] == traces[:1]
    (tmp_path / "plain").mkdir()
    plain = cut_off(tmp_path / "plain", [Status.OK, None, None])
    assert bench("run", "--resume", plain, "--profile") == 2
    assert "was begun with profile False, and --profile asks for True" in capsys.readouterr().err
