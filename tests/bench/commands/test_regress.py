import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from bench.commands.regress import common_jobs
from bench.commands.verdicts import document, print_outcomes
from bench.devices import Device
from bench.records import Cell
from bench.turns.cells import Definition
from bench.turns.contest import PAIRS_A_PROCESS, Limits, hold
from bench.turns.outcome import outcome
from bench.turns.tolerances import Tolerances
from tests.bench.turns.trees import job, tree

CPU = Device(torch_name="cpu", name="cpu")
CELLS = {f"work[n={n}]": (Cell(workload="work", axes={"n": n}), "small_work:Work") for n in (1, 2)}


def test_cells_of_another_version_are_not_compared() -> None:
    jobs, said = common_jobs(Definition(1, CELLS), Definition(2, CELLS), CPU, 0)
    assert not jobs
    assert said[0].startswith("the suite is of version 1 in the base and 2 here")


def test_cells_that_only_one_tree_has_or_that_another_class_measures_are_named() -> None:
    changed = CELLS | {"work[n=2]": (CELLS["work[n=2]"][0], "other_work:Work")}
    jobs, said = common_jobs(Definition(1, CELLS), Definition(1, changed), CPU, 7)
    assert [each.cell.key for each in jobs] == ["work[n=1]"]
    assert jobs[0].in_turns
    assert jobs[0].inputs["seed"] == 7
    assert said == ["not compared, since only one of the trees has it so: work[n=2]"]


def test_what_is_worse_is_said_with_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    matters = Tolerances(time=0.5, memory=1, memory_bytes=1e9, energy=1, quality=1, stage_share=0.02)
    base, head = tree(tmp_path / "base"), tree(tmp_path / "head", seconds=0.25)
    found = outcome(hold(base, head, job(), matters, Limits(60.0, 14 * PAIRS_A_PROCESS), seed=0), matters)
    print_outcomes([found], "main", Console(width=120))
    printed = capsys.readouterr().out
    assert "worse: work: gaze takes 2.000 (2.000 to 2.000) times as long" in printed
    assert "1 of 1 cells worse than main" in printed
    kept = json.loads(json.dumps(document(found)))
    written = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = re.search(r"^\* `regress`: ((?:.+\n)(?:  .+\n)*)", written, flags=re.MULTILINE)
    assert listed is not None
    assert set(re.findall(r"`cells\[\]\.(\w+)`", listed[1])) == kept.keys()
    assert kept["stages"]["gaze"]["verdict"] == "slower"
    assert kept["stages"]["gaze"]["wall"]["estimate"] == 2.0
