import json
from pathlib import Path

import pytest

from bench.calibration import read_calibration
from bench.cli import main
from bench.commands import calibrate as command
from bench.devices import Device
from bench.environment import describe
from bench.records import Cell
from bench.turns.cells import Definition
from tests.bench.documents import documented, keys
from tests.bench.turns.test_trials import made

CELLS = [Cell(workload="gaze", axes={"chunk": chunk}) for chunk in (4, 16)]


@pytest.fixture(autouse=True)
def _measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        command, "definition", lambda *_: Definition(1, {cell.key: (cell, "a:B") for cell in CELLS})
    )
    seeds = iter(range(1000))
    monkeypatch.setattr(command, "record_round", lambda *_: made(next(seeds)))


def calibrate(*options: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "--suite", "smoke", "--gpu", "cpu", *map(str, options)])
    return int(end.value.code or 0)


def test_a_calibration_is_kept_for_this_machine_and_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate("--processes", 4) == 0
    printed = capsys.readouterr().out
    assert "round 4 of 4" in printed
    assert "gaze[chunk=4] gaze: runs differ by up to" in printed
    assert calibrate("--processes", 5, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert keys(found) == documented("calibrate")
    assert [cell["cell"] for cell in found["cells"]] == [cell.key for cell in CELLS]
    sessions = read_calibration(describe(Device(torch_name="cpu", name="cpu")).fields).of("smoke", 1)
    ratios = [len(session.cells[CELLS[0].key]["gaze"].ratios) for session in sessions]
    assert ratios[-1] == 5


def test_too_few_processes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate("--processes", 3) == 2
    assert "Invalid value for '--processes'" in capsys.readouterr().err
