from bench.calibration import Session, StageNoise
from bench.margins import UNCALIBRATED, Margin, for_records, margins_of, time_between
from tests.bench import builders

CELL = builders.cell()
NOISE = StageNoise(medians=tuple(1 + 0.01 * (i % 4) for i in range(16)), ratios=(1.01,) * 8)
SESSION = builders.session({CELL.key: {"gaze": NOISE}}, seconds=3600.0)


def margin_of(
    *sessions: Session, b_created: str = "2026-01-01T00:30:00+00:00", comparisons: int = 1
) -> Margin:
    a = builders.run([CELL], "a")
    b = builders.run([CELL], "b").model_copy(update={"created": b_created})
    return margins_of(sessions, time_between(a, b), comparisons)(CELL.key, "gaze")


def test_without_a_calibration_the_stated_margin_holds() -> None:
    assert margin_of() == Margin()
    assert margin_of().ratio == UNCALIBRATED


def test_a_calibrated_margin_is_wider_for_more_comparisons() -> None:
    one, many = margin_of(SESSION), margin_of(SESSION, comparisons=33)
    assert one.calibrated
    assert 1.0 < one.ratio < many.ratio < UNCALIBRATED


def test_a_calibration_does_not_speak_for_runs_further_apart_than_it_lasted() -> None:
    far = margin_of(SESSION, b_created="2026-01-01T02:00:00+00:00")
    assert (far.ratio, far.calibrated) == (UNCALIBRATED, False)
    assert far.caveat.startswith("the runs lie 2 h apart, and this machine was calibrated for 60 min")
    later = builders.session({CELL.key: {"gaze": NOISE}}, started="2026-01-01T06:00:00+00:00")
    assert margin_of(SESSION, later, b_created="2026-01-01T02:00:00+00:00").calibrated


def test_it_does_not_speak_for_runs_that_were_more_disturbed() -> None:
    known = margin_of(SESSION)
    quiet, busy = builders.record(CELL), builders.record(CELL, others=0.4)
    assert for_records(known, quiet, quiet, (SESSION,)) == known
    assert for_records(known, quiet, busy, (SESSION,)).caveat == (
        "other programs used 40% of the CPUs, and 0% when it was calibrated"
    )
    as_busy = builders.session({}, others=0.35)
    assert for_records(known, quiet, busy, (SESSION, as_busy)) == known


def test_a_cell_or_stage_that_was_not_calibrated_has_the_stated_margin() -> None:
    other = builders.session({"other": {"gaze": NOISE}}, seconds=3600.0)
    assert margin_of(other) == Margin(caveat="the calibration has no such cell")
