"""``bench list``, ``suites``, ``axes``, ``compare`` and ``doctor``: what people see, and what machines do."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.commands import doctor
from bench.records import AxisValue, Status
from suites.loader import suite_names
from tests.bench import builders
from tests.bench.documents import documented, keys

CELL = builders.cell()
HERE: dict[str, AxisValue] = {"cpu.model": "AMD EPYC", "git.commit": "0123456789", "git.dirty": True}


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def write(
    folder: Path, identity: str, created: str, seconds: float = 1.0, status: Status = Status.OK
) -> Path:
    run = builders.run([CELL], identity, HERE).model_copy(update={"created": created})
    record = builders.record(CELL, {"end_to_end": [seconds] * 5}, status=status)
    return builders.write(run, [record], folder)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A finished run, a later one that failed, and one that cannot be read."""
    write(tmp_path, "20260101T000000Z-fake-cpu-1a2b", "2026-01-01T00:00:00+00:00")
    write(tmp_path, "20260102T000000Z-fake-cpu-3c4d", "2026-01-02T12:30:00+00:00", status=Status.FAILED)
    (write(tmp_path, "broken", "2026-01-03T00:00:00+00:00") / "run.json").write_text("{}")
    return tmp_path


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what was printed to standard output, which must be one document."""
    return json.loads(capsys.readouterr().out)


def test_runs_are_listed_the_newest_first_with_the_names_to_type(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("list", "--results", results) == 0
    _, first, second, third = (line.split() for line in capsys.readouterr().out.splitlines())
    assert " ".join(first) == (
        "latest 3c4d 2026-01-02 12:30 fake cpu (AMD EPYC) 0123456+ finished, 1 cell, 1 failed"
    )
    assert second[:2] == ["latest~1", "1a2b"]
    assert third == ["latest~2", "broken", "unreadable"]


def test_runs_as_json(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("list", "--results", results, "--json") == 0
    found = document(capsys)
    assert keys(found) == documented("list")
    assert [run["state"] for run in found["runs"]] == ["finished", "finished", "unreadable"]
    assert found["runs"][0]["statuses"] == {"failed": 1}
    assert "is not the head of a run" in found["runs"][2]["reason"]


def test_where_there_are_no_runs_a_way_to_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("list", "--results", tmp_path / "none") == 0
    assert "make bench SUITE=smoke makes one" in capsys.readouterr().out


def test_every_suite_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("suites", "--json") == 0
    found = document(capsys)
    assert keys(found) == documented("suites")
    assert [suite["suite"] for suite in found["suites"]] == suite_names()
    assert {suite["suite"]: suite["cells"] for suite in found["suites"]}["smoke"] == 3
    assert bench("suites") == 0
    assert "Does everything work?" in capsys.readouterr().out


def test_the_axes_of_a_suite_have_variables_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("axes", "kernels", "--json") == 0
    found = document(capsys)
    assert keys(found) == documented("axes")
    (form,) = [axis for axis in found["axes"] if axis["axis"] == "form"]
    values, known = form.pop("values"), form.pop("known")
    assert form == {"axis": "form", "variable": "FORM", "workloads": ["kernel"]}
    assert {"triton", "reference", "native"} <= set(values) <= set(known)
    assert bench("axes", "attention") == 0
    assert "ATTN=" in capsys.readouterr().out


def test_an_unknown_suite_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("axes", "kernel") == 2
    assert "error: unknown suite 'kernel': did you mean 'kernels'?" in capsys.readouterr().err


def test_runs_are_compared_by_name_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "20260101T000000Z-fake-cpu-1a2b", "2026-01-01T00:00:00+00:00")
    write(tmp_path, "20260102T000000Z-fake-cpu-3c4d", "2026-01-02T00:00:00+00:00", seconds=2.0)
    assert bench("compare", "latest~1", "3c4d", "--results", tmp_path, "--json") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert keys(found) == documented("compare")
    assert found["exit_code"] == 1
    assert found["worse"] == [CELL.key]
    assert found["cells"][0]["stages"]["end_to_end"]["ratio"] == 2.0
    assert "B is worse" in captured.err


def test_a_run_is_reported_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, "20260101T000000Z-fake-cpu-1a2b", "2026-01-01T00:00:00+00:00")
    assert bench("report", "latest", "--results", tmp_path) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "report.html")


def test_what_can_run_here_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = doctor.Finding("devices", "cpu", True, "cpu")
    monkeypatch.setattr(doctor, "examine", lambda: iter([finding]))
    assert bench("doctor", "--json") == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert keys(found) == documented("doctor")
    assert found["findings"] == [{"area": "devices", "subject": "cpu", "usable": True, "remark": "cpu"}]
    assert "usable" in captured.err
