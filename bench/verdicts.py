"""Verdicts: the words and exit codes of every comparison, of two trees in turns and of two recorded runs."""

from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """What can be said of one stage's time in the head, or in run B, seen from the base, or from run A."""

    FASTER = "faster"
    SAME = "same"
    """Within the tolerance."""
    NEGLIGIBLE = "negligible"
    """However the stage changed, the whole hardly did."""
    SLOWER = "slower"
    MORE_WORK = "more work"
    """Longer, by no more than it does more."""
    LESS_WORK = "less work"
    """Shorter, by no more than it does less."""
    UNDECIDED = "undecided"


class Exit(IntEnum):
    """Exit codes of a comparison."""

    NOTHING_WORSE = 0
    WORSE = 1
    BAD_INPUT = 2
    UNDECIDED = 3
    NOT_COMPARABLE = 4


def exit_code_of(worse: bool, undecided: bool) -> Exit:
    """Return the exit code of a whole comparison: worse, else undecided, else nothing worse."""
    if worse:
        return Exit.WORSE
    return Exit.UNDECIDED if undecided else Exit.NOTHING_WORSE


def by_interval(low: float, high: float, tolerance: float) -> Verdict:
    """Return what an interval of the ratio of two times says, where a change by the share ``tolerance`` does
    not matter: only a whole interval on one side of it is a change."""
    slower, faster = 1 + tolerance, 1 / (1 + tolerance)
    if low > slower:
        return Verdict.SLOWER
    if high < faster:
        return Verdict.FASTER
    if faster <= low and high <= slower:
        return Verdict.SAME
    return Verdict.UNDECIDED
