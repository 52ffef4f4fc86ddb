"""What a survey answers, taken in this process."""

from dataclasses import asdict
from pathlib import Path

import pytest

from bench import survey as survey_module
from bench.records import Cell
from bench.survey import Question, Span, survey
from suites import WORKLOADS
from suites.workload import Inputs

TARGETS = {**WORKLOADS, "fake": "tests.bench.fake_workload:Fake"}


def question(*cells: Cell) -> Question:
    return Question(cells=cells, targets=TARGETS, inputs=asdict(Inputs()))


def attention(**axes: str | int) -> Cell:
    every = {"mask": "causal", "tokens": 64, "head_dim": 16, "heads": 2, "batch": 1, "padding": 0.0}
    return Cell(workload="attention", axes={**every, "backend": "sdpa", "dtype": "float32", **axes})


def test_each_cell_has_an_answer_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    cells = (attention(), attention(backend="triton"), Cell(workload="fake", axes={}), attention(tokens=512))
    small, missing, unknown, large = survey(question(*cells)).cells
    assert missing.obstacle is not None
    assert missing.obstacle.startswith("attention backend 'triton'")
    assert (unknown.known, unknown.obstacle) == (False, None)
    assert small.known
    assert large.repetition.middle > small.repetition.middle > 0
    assert large.memory_bytes > small.memory_bytes > 0


def test_a_cell_whose_foresight_fails_is_left_to_be_started() -> None:
    (broken,) = survey(question(attention(tokens="many"))).cells
    assert (broken.known, broken.obstacle) == (False, None)


def test_nothing_is_measured_for_cells_that_foresee_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "_prices", lambda *_: pytest.fail("something was measured"))
    answer = survey(question(Cell(workload="fake", axes={})))
    assert answer.free_bytes is None


def test_a_slow_number_format_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "slow_remarks", lambda device, dtypes: {"float16": "slow: 18 times"})
    quick, slow = survey(question(attention(), attention(dtype="float16"))).cells
    assert (quick.remark, slow.remark) == (None, "slow: 18 times")


def test_free_memory_is_bound_by_the_limit_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "_CGROUP", tmp_path)
    own, free = survey_module._memory("cpu")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free is not None
    assert survey_module._memory("cpu")[1] == pytest.approx(free, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert survey_module._memory("cpu")[1] == pytest.approx(4000 + own, rel=0.05)


def test_the_middle_of_a_span_is_as_many_times_the_least_as_the_most_is_times_it() -> None:
    assert Span(low=2.0, high=8.0).middle == 4.0
