from collections.abc import Sequence

import pytest

from bench.records import Cell, Record
from bench.work import fit, work_change
from tests.bench import builders

SETTINGS = (100.0, 200.0, 400.0)


def record(steps: float, seconds: float, setting: str = "", chunk: int = 16, **more: float) -> Record:
    cell = Cell(workload="gaze", axes={"setting": setting or f"ratio_{steps:g}", "chunk": chunk})
    counters = {"decode_steps": steps, "frames": 16.0, **more}
    return builders.record(cell, {"gaze": [seconds] * 5}, counters=counters)


def of_run(seconds: Sequence[float] = (0.3, 0.4, 0.6)) -> list[Record]:
    """Return cells that take 0.2 s and a millisecond a step, unless told otherwise."""
    return [record(steps, each) for steps, each in zip(SETTINGS, seconds)]


def test_cells_that_differ_in_the_setting_alone_give_a_line() -> None:
    records = of_run()
    line = fit(records[0].cell, "gaze", "decode_steps", [*records, record(300, 9.0, chunk=4)])
    assert line is not None
    assert (line.a, line.b) == pytest.approx((0.2, 0.001))
    assert line.price(200, 210) == pytest.approx(0.41 / 0.40)


@pytest.mark.parametrize(
    "records",
    [of_run()[:2], of_run((0.3, 0.9, 0.6)), of_run((0.6, 0.4, 0.3))],
    ids=["too few", "on no line", "falling"],
)
def test_where_no_line_fits_there_is_none(records: list[Record]) -> None:
    assert fit(records[0].cell, "gaze", "decode_steps", records) is None


def test_a_line_is_not_believed_far_outside_of_its_cells() -> None:
    line = fit(of_run()[0].cell, "gaze", "decode_steps", of_run())
    assert line is not None
    assert line.price(400, 500) is not None
    assert line.price(400, 700) is None


def test_the_price_of_more_steps_is_fitted_where_the_run_allows_it() -> None:
    a, b = record(200, 0.4), record(210, 0.5, "ratio_200")
    priced = work_change(a, b, "gaze", of_run())
    assert priced is not None
    assert priced.fitted
    assert priced.most == pytest.approx(0.41 / 0.40)
    assert str(priced) == "decode_steps went from 200 to 210"
    bounded = work_change(a, b, "gaze")
    assert bounded is not None
    assert (bounded.fitted, bounded.least, bounded.most) == (False, 1.0, pytest.approx(1.05))


def test_bounds_hold_for_all_counters_of_work() -> None:
    a = record(20, 0.4, "s", selected_patches=198.0, flops=1e9)
    b = record(20, 0.4, "s", selected_patches=208.0, flops=2e9)
    change = work_change(a, b, "gaze")
    assert change is not None
    assert (change.counter, change.least, change.most) == ("selected_patches", 1.0, 2.0)


def test_as_much_work_is_no_change() -> None:
    assert work_change(record(200, 0.4), record(200, 0.5), "gaze") is None
    fewer_frames = record(200, 0.5, frames=8.0)
    assert work_change(record(200, 0.4), fewer_frames, "gaze") is None
