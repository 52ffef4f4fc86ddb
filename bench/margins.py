"""Margins: by how much two recorded runs must differ before the difference is more than noise.

Repetitions of one process lie close together; two processes of the same tree, hours apart, do not. Two quiet
runs of one commit were seen to differ by 1.366 with an interval of 1.128 to 1.521 around it. So an interval
over repetitions does not do. What does is the spread between runs on this machine (:mod:`bench.calibration`),
and it speaks for two runs only that lie no further apart than its sessions, and were no more disturbed.
Without one, :data:`UNCALIBRATED` is the margin: the end of that interval, rounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.calibration import Session, spread_between_runs
from bench.meters.cpu_load import others_share
from bench.records import Record, Run

UNCALIBRATED = 1.5
"""Ratio up to which two runs may differ by noise, for all that is known without a calibration."""
ALPHA = 0.01
"""Chance that any stage of any cell exceeds its margin though nothing changed."""
LOAD_TOLERANCE = 0.10
"""Share of the CPUs by which other programs may have been busier in one measurement than in another."""


@dataclass(frozen=True)
class Margin:
    """What noise alone may do to the ratio of a stage's times in two runs."""

    ratio: float = UNCALIBRATED
    calibrated: bool = False
    caveat: str = "this machine was never calibrated for the suite"
    """Why it is not calibrated; empty where it is."""


Margins = Callable[[str, str], Margin]
"""Margin for a cell's key and a stage."""


def no_margins(cell: str, stage: str) -> Margin:
    """Return the margin of a machine that nothing is known of."""
    return Margin()


def time_between(a: Run, b: Run) -> timedelta:
    """Return how far apart two runs were begun."""
    return abs(_moment(a.created) - _moment(b.created))


def margins_of(sessions: Sequence[Session], apart: timedelta, comparisons: int) -> Margins:
    """Return the margins for two runs that lie so far ``apart``, from the ``sessions`` on their suite; the
    error :data:`ALPHA` is shared out among so many ``comparisons`` of stages (Bonferroni)."""
    alpha = ALPHA / max(1, comparisons)

    def margin(cell: str, stage: str) -> Margin:
        if not sessions:
            return Margin()
        spread = spread_between_runs(sessions, cell, stage)
        if spread is None:
            return Margin(caveat="the calibration has no such cell")
        if apart > _span(sessions):
            caveat = (
                f"the runs lie {_said(apart)} apart, and this machine was calibrated for "
                f"{_said(_span(sessions))}: calibrate again, for sessions add up"
            )
            return Margin(caveat=caveat)
        return Margin(spread.floor(alpha), True, "")

    return margin


def for_records(margin: Margin, a: Record, b: Record, sessions: Sequence[Session]) -> Margin:
    """Return the margin for two records of a cell: the calibrated one only where neither was disturbed more
    than the machine was when it was calibrated."""
    if not margin.calibrated:
        return margin
    busiest = max(session.others for session in sessions)
    others = max(others_share(a.samples), others_share(b.samples))
    if others <= busiest + LOAD_TOLERANCE:
        return margin
    return Margin(
        caveat=f"other programs used {others:.0%} of the CPUs, and {busiest:.0%} when it was calibrated"
    )


def _span(sessions: Sequence[Session]) -> timedelta:
    return max(each.ended for each in sessions) - min(each.started for each in sessions)


def _moment(created: str) -> datetime:
    moment = datetime.fromisoformat(created)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _said(length: timedelta) -> str:
    minutes = length.total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h"
