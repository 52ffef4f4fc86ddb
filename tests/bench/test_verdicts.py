import pytest

from bench.verdicts import Exit, Verdict, by_interval, exit_code_of


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.11, 1.30, Verdict.SLOWER),
        (1.09, 1.30, Verdict.UNDECIDED),
        (0.95, 1.09, Verdict.SAME),
        (0.50, 0.90, Verdict.FASTER),
        (0.50, 1.00, Verdict.UNDECIDED),
    ],
)
def test_only_a_whole_interval_on_one_side_is_a_change(low: float, high: float, verdict: Verdict) -> None:
    assert by_interval(low, high, 0.10) is verdict


@pytest.mark.parametrize(
    ("worse", "undecided", "code"),
    [
        (True, True, Exit.WORSE),
        (False, True, Exit.UNDECIDED),
        (True, False, Exit.WORSE),
        (False, False, Exit.NOTHING_WORSE),
    ],
)
def test_worse_counts_for_more_than_undecided(worse: bool, undecided: bool, code: Exit) -> None:
    assert exit_code_of(worse, undecided) is code
