import errno
import os
import re
import signal
import subprocess
import sys
from io import FileIO
from pathlib import Path

import pytest

import reports
from bench import journal, runner
from bench.cli import main
from bench.records import SCHEMA_VERSION
from tests.bench import builders
from tests.bench.fake_workload import Rendezvous, write_suite

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have tests of their own."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setattr(reports, "print_table", lambda folder, console: None)
    monkeypatch.setattr(reports, "write_all", lambda folder: [folder / "report.md"])
    monkeypatch.setattr(reports, "print_comparison", lambda comparison, console: None)


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_a_run_measures_writes_and_names_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(tmp_path, ["good", "raise"])
    assert (
        bench(
            "run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "out", "--chunk", "8", "--samples", 6
        )
        == 1
    )
    (folder,) = (tmp_path / "out").iterdir()
    run, records = journal.read_run(folder)
    assert [cell.axes["chunk"] for cell in run.cells] == [8, 8]
    assert [record.status for record in records] == ["ok", "failed"]
    assert run.settings["min_samples"] == 6
    *_, counted, last = capsys.readouterr().out.splitlines()
    assert counted == "1 of 2 cells not ok: 1 failed"
    assert last == f"report: {folder}/report.html"


def test_empty_options_as_make_passes_them_mean_not_given(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, ["good"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--attn=", "--chunk=", "--video=", "--plan") == 0


def test_a_plan_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write_suite(tmp_path, ["good", "print"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "out", "--plan") == 0
    assert "2 cells on cpu" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--suite", "smok"], "error: unknown suite 'smok': did you mean 'smoke'"),
        (["--gpu", "b9000"], "error: no device here matches GPU 'b9000': found"),
        (["--chunk", "3"], "unknown value of axis chunk of workload fake '3'"),
        (["--dtype", "float23"], "did you mean 'float32'"),
        (["--setting", "ratio=1"], "must have the form"),
        (["--video", "/nowhere.mp4"], "error: video /nowhere.mp4 cannot be read"),
        (["--out", "/dev/null/out"], "cannot be written"),
        (["--resume", "/nowhere"], "error: no run is called '/nowhere'"),
        (
            ["--retry"],
            "error: --retry measures cells of a run again, and none is named: name it with --resume",
        ),
        (["--axis", "behavior=good"], "unknown axis of suite fake 'behavior': did you mean 'behaviour'?"),
        (
            ["--attn", "sdpa"],
            "unknown axis of suite fake 'attention': did you mean 'setting'? known are behaviour, chunk",
        ),
        (["--axis", "chunk"], "error: axis 'chunk' must have the form name=value,value"),
        (["--axis", "chunk=4", "--chunk", "8"], "error: axis chunk is given twice, and differently"),
        (["--upstream", "/nowhere"], "error: no cell of suite fake takes UPSTREAM"),
        (["--upstream-python", "python3"], "error: UPSTREAM_PYTHON python3 has nothing to run"),
        (
            ["--suite", "default", "--engine", "released"],
            "error: engine released needs UPSTREAM: give it, or leave released out",
        ),
        (
            ["--suite", "engines", "--upstream", "/nowhere"],
            "error: UPSTREAM /nowhere is not a checkout of the released code",
        ),
        (
            ["--suite", "kernels", "--video", "a.mp4"],
            "error: no cell of suite kernels reads --video: leave it",
        ),
        (["--samples", "0"], "Invalid value for '--samples'"),
        (["--wrong"], "No such option"),
    ],
)
def test_input_that_cannot_be_used_is_a_sentence_and_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    suite = write_suite(tmp_path, ["good"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "out", *arguments) == 2
    captured = capsys.readouterr()
    assert sentence in " ".join(captured.err.split())
    assert "Traceback" not in captured.err


def test_a_run_in_which_every_cell_refused_its_input_has_exit_code_two(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, ["refuse", "unavailable"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "out") == 2


def test_a_run_in_which_nothing_worked_has_exit_code_one(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, ["raise", "refuse"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "out") == 1


def finish_as_pasted(errors: str) -> int:
    """Carry out the command that an interrupted run showed, as a shell in the same folder would."""
    (command,) = re.findall(r"finish the rest with: (.*)", errors)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, shell=True, env=environment).returncode


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_resume_and_can_be(tmp_path: Path, stop: signal.Signals) -> None:
    meeting = Rendezvous(tmp_path)
    suite = write_suite(tmp_path, ["good", str(meeting.path)])
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--suite",
        str(suite),
        "--gpu",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert meeting.reached()
    parent.send_signal(stop)
    _, errors = parent.communicate()
    meeting.dissolve()
    (folder,) = (tmp_path / "out").iterdir()
    assert parent.returncode == 130
    assert f"-m bench run --resume {folder}" in errors
    assert "Traceback" not in errors
    assert len(journal.read_run(folder)[1]) == 1
    assert finish_as_pasted(errors) == 0
    assert [record.status for record in journal.read_run(folder)[1]] == ["ok", "ok"]


def test_a_comparison_exits_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = builders.cell()
    same, slow = {"end_to_end": [1.0] * 5}, {"end_to_end": [1.6] * 5}
    a, b, other = (
        builders.write(builders.run([cell], name, suite=suite), [builders.record(cell, seconds)], tmp_path)
        for name, suite, seconds in [("a", "fake", same), ("b", "fake", slow), ("c", "other", same)]
    )
    assert bench("compare", a, a) == 0
    assert bench("compare", a, b) == 1
    assert bench("compare", a, b, "--tolerance", "0.7") == 0
    assert bench("compare", a, other) == 4
    assert bench("compare", a, tmp_path / "nowhere") == 2
    assert "compare runs of the same suite" in capsys.readouterr().err


def test_one_run_is_reported_in_place_and_several_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def write_comparable(folders: list[Path], out: Path) -> list[Path]:
        asked.append((folders, out))
        return [out / "report.md"]

    monkeypatch.setattr(reports, "write_comparable", write_comparable)
    folders = [builders.write(builders.run([], name), [], tmp_path) for name in "ab"]
    assert bench("report", folders[0]) == 0
    assert asked == []
    assert bench("report", *folders, "--out", tmp_path / "both") == 0
    assert asked == [(folders, tmp_path / "both")]
    assert bench("report", tmp_path / "nowhere") == 2


def test_the_help_does_not_load_what_is_heavy() -> None:
    script = "import sys, bench.cli; print({'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_a_disk_that_is_full_ends_a_run_in_a_sentence_and_it_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = write_suite(tmp_path, ["good", "print", "another"]), tmp_path / "out"
    write_all, written = journal._write_all, []

    def fill(file: FileIO, content: bytes) -> None:
        if written:
            file.write(content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(content)
        write_all(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_write_all", fill)
        assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: record of cell fake[behaviour=print")
    assert "(No space left on device): make room, and finish the run with RESUME=" in line
    (folder,) = out.iterdir()
    (kept,) = journal.read_run(folder)[1]
    assert bench("run", "--resume", line.partition("RESUME=")[2].partition(";")[0], "--out", out) == 0
    records = journal.read_run(folder)[1]
    assert records[0] == kept
    assert len(records) == 3


def test_where_a_table_finds_no_room_the_records_are_kept_and_any_other_failure_is_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = write_suite(tmp_path, ["good"]), tmp_path / "out"

    def export(folder: Path) -> None:
        raise OSError(code, os.strerror(code), str(folder / "samples.parquet"))

    monkeypatch.setattr(runner, "export", export)
    code = errno.ENOSPC
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "samples.parquet cannot be written (No space left on device): make room, and give" in line
    (folder,) = out.iterdir()
    assert len(journal.read_run(folder)[1]) == 1
    code = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        main(["run", "--resume", str(folder), "--out", str(out)])


def test_a_run_of_another_schema_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        builders.write(builders.run([builders.cell()], name), [builders.record(builders.cell())], tmp_path)
        for name in "ab"
    ]
    head = folders[1] / journal.RUN_FILE
    head.write_text(head.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
    assert bench("compare", *folders) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: run {folders[1]} has schema version 99, newer than {SCHEMA_VERSION}")
    assert {path: path.read_bytes() for folder in folders for path in folder.iterdir()} == before


def test_a_machine_without_git_measures_and_takes_no_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    suite = write_suite(tmp_path, ["good"])
    assert bench("run", "--suite", suite, "--gpu", "cpu", "--out", tmp_path / "out") == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert journal.read_head(folder)[1].environment.fields["git.commit"] is None
    capsys.readouterr()
    assert bench("regress", "HEAD", "--gpu", "cpu") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a base needs git, which is not installed")
