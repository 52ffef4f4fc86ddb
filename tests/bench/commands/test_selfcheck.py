import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.cli import main
from bench.commands import selfcheck as command
from bench.records import Cell
from bench.turns import selfcheck
from bench.turns.cells import Definition
from bench.turns.recording import Round
from bench.turns.selfcheck import CONDITIONS, Measured, measure
from bench.turns.trials import Pool
from tests.bench.documents import documented, keys
from tests.bench.turns.test_trials import made
from tests.bench.turns.trees import job, tree

CELL = Cell(workload="gaze", axes={"setting": "ratio_0.10"})


def bench(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which everything was measured already."""
    pools = {
        (condition, loaded): Pool(
            condition.same_tree, [made(seed, slower=1 + condition.share) for seed in range(20)]
        )
        for condition in CONDITIONS
        for loaded in (False, True)
    }
    monkeypatch.setattr(command, "definition", lambda *_: Definition(1, {CELL.key: (CELL, "a:B")}))
    monkeypatch.setattr(selfcheck, "measure", lambda *_: Measured(pools))


def test_rates_are_a_document(measured: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("selfcheck", "--gpu", "cpu", "--comparisons", 6, "--trials", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert keys(found) == documented("selfcheck")
    assert len(found["rows"]) == 4 * 2 * 3
    rows = {(row["condition"], row["under_load"], row["way"]): row["said"] for row in found["rows"]}
    assert rows["same tree", False, "in turns (regress)"]["worse"] == 0
    assert rows["gaze 20 % slower", True, "in turns (regress)"]["worse"] == 3
    assert sum(rows["gaze 5 % slower", False, "recorded (compare)"].values()) == 3


def test_the_table_is_written_with_the_command_that_made_it(
    measured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("selfcheck", "--gpu", "cpu", "--comparisons", 3, "--trials", 2, "--format", "markdown") == 0
    printed = capsys.readouterr().out
    assert "| condition " in printed
    assert "| recorded, the old way |" in printed
    assert (
        f"cell {CELL.key}, 1 of its calls; each condition was measured in 20 to 20 pairs of processes"
        in printed
    )
    assert "selfcheck --gpu cpu --comparisons 3 --trials 2 --format markdown" in printed


def test_conditions_are_measured_in_cycles_each_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    loads: list[int] = []

    def record_round(trees: object, jobs: tuple[object, object], coin: object) -> Round:
        asked.append(tuple(each.cell.axes for each in jobs))
        return made(0)

    class Load:
        def __init__(self, seed: int, most_seconds: float) -> None:
            loads.append(seed)

        __enter__ = __exit__ = lambda self, *_: None

    monkeypatch.setattr(selfcheck, "record_round", record_round)
    monkeypatch.setattr(selfcheck, "LoadGenerator", Load)
    monkeypatch.setattr(selfcheck, "time", SimpleNamespace(monotonic=lambda: 0.0))
    small = job()
    small = small.model_copy(
        update={"cell": small.cell.model_copy(update={"axes": {"setting": "ratio_0.10"}})}
    )
    found = measure(tree(tmp_path / "tree"), small, 0.0, 0, lambda *_: None)
    assert {len(pool.rounds) for (of, _), pool in found.pools.items() if not of.same_tree} == {2}
    assert {len(pool.rounds) for (of, _), pool in found.pools.items() if of.same_tree} == {4}
    assert len(loads) == len(set(loads)) == 2 * 5
    base, head = asked[2]
    assert base == {"setting": "ratio_0.10"}
    assert dict(head)["injected.share"] == 0.05  # type: ignore[call-overload]
    assert ({"setting": "ratio_0.75"}, {"setting": "ratio_0.79"}) in asked
