import pytest

from bench.costs import Evidence, Limits, spent_of
from bench.forecast import Forecast, look_ahead
from bench.records import Cell, Record, Status
from bench.survey import Foreseen, Span
from tests.bench import builders

LIMITS = Limits(min_samples=1, time_budget_seconds=0.0, timeout_seconds=1e6, warmups=0)


def foreseen(seconds: float) -> Foreseen:
    return Foreseen(known=True, repetition=Span(low=seconds, high=seconds))


def took(cell: Cell, seconds: float, status: Status = Status.OK) -> Record:
    record = builders.record(cell, {"end_to_end": [seconds]}, status=status)
    return record.model_copy(update={"elapsed_seconds": seconds})


def forecast(*seconds: float) -> tuple[list[Cell], Forecast]:
    cells = [builders.cell(number) for number in range(len(seconds))]
    return cells, Forecast(LIMITS, {c.key: foreseen(s) for c, s in zip(cells, seconds, strict=True)}, [])


def test_time_left_is_that_of_the_cells_to_come_and_nothing_at_the_end() -> None:
    cells, found = forecast(1.0, 10.0, 100.0)
    assert found.seconds_left(cells) == pytest.approx(111.0, rel=1e-3)
    assert found.seconds_left(cells[2:]) == pytest.approx(100.0, rel=1e-3)
    assert found.seconds_left([]) == 0


@pytest.mark.parametrize("pace", [0.5, 3.0])
def test_what_cells_took_sets_right_what_those_to_come_are_expected_to_take(pace: float) -> None:
    cells, found = forecast(1.0, 10.0, 100.0)
    before = found.seconds_left(cells[2:])
    found.learn(took(cells[0], pace * 1.0))
    found.learn(took(cells[1], pace * 10.0))
    after = found.seconds_left(cells[2:])
    assert abs(after - pace * before) < abs(before - pace * before) / 2


def test_cells_that_failed_teach_nothing() -> None:
    cells, found = forecast(1.0, 10.0)
    before = found.seconds_left(cells[1:])
    found.learn(took(cells[0], 50.0, Status.FAILED))
    assert found.seconds_left(cells[1:]) == before


def test_workloads_that_foresee_nothing_cost_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.forecast.ask", lambda *_: pytest.fail("a process was started"))
    cell = Cell(workload="fake", axes={})
    found = look_ahead([cell], {"fake": "tests.bench.fake_workload:Fake"}, {}, LIMITS, {}, None)
    assert found.estimate(cell).seconds > 0


def test_a_survey_that_fails_leaves_what_was_measured_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.forecast.ask", lambda *_: None)
    cell = Cell(workload="ceiling", axes={"dtype": "float32"})
    earlier = {cell.key: spent_of(took(cell, 4.0))}
    found = look_ahead([cell], {"ceiling": "suites.ceilings:Ceiling"}, {}, LIMITS, earlier, None)
    assert found.evidence == [Evidence(Foreseen(), earlier[cell.key])]
    assert found.estimate(cell).seconds == pytest.approx(4.0)
