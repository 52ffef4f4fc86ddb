import math
from pathlib import Path

import numpy as np
import pytest

from bench.calibration import Spread
from bench.records import Cell, Sample
from bench.turns import contest as contests
from bench.turns.contest import PAIRS_A_PROCESS, Contest, Limits, Side, hold, verdicts
from bench.turns.outcome import exit_code, outcome, work_aware
from bench.turns.tolerances import Tolerances
from bench.turns.verdict import Interval, StageVerdict, stage_verdict
from bench.verdicts import Exit, Verdict
from tests.bench import builders
from tests.bench.turns.trees import job, tree

COARSE = Tolerances(time=0.5, memory=0.5, memory_bytes=2**26, energy=0.5, quality=0.01, stage_share=0.02)
ENOUGH = 14 * PAIRS_A_PROCESS
"""Pairs that decide what is plain."""
FEW = Limits(seconds=60.0, most_pairs=ENOUGH)


def test_a_tree_that_takes_longer_is_slower(tmp_path: Path) -> None:
    base, head = tree(tmp_path / "base"), tree(tmp_path / "head", seconds=0.375)
    contest = hold(base, head, job(), COARSE, FEW, seed=0)
    assert contest.failure is None
    assert contest.stages["gaze"].verdict is Verdict.SLOWER
    assert contest.stages["gaze"].wall.estimate == 3
    found = outcome(contest, COARSE)
    assert "gaze takes 3.000 (3.000 to 3.000) times as long" in found.worse
    assert exit_code([found]) is Exit.WORSE


def test_processes_are_replaced_and_pairs_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Interval(1.0, 0.0, math.inf)
    monkeypatch.setattr(contests, "verdicts", lambda *_: {"gaze": stage_verdict(unknown, None, 0.02)})
    twin = tree(tmp_path / "twin")
    contest = hold(twin, twin, job(), COARSE, Limits(60.0, most_pairs=PAIRS_A_PROCESS + 3), seed=0)
    assert contest.pairs == PAIRS_A_PROCESS + 3
    for side in (contest.base, contest.head):
        assert len(side.records) == 2
        assert [s.index for s in side.samples if s.stage == "gaze"] == list(range(contest.pairs))
        assert all(s.cpu_seconds is not None for s in side.samples if s.stage == "end_to_end")


def test_more_waiting_is_not_called_more_work() -> None:
    def side(seconds: float) -> Side:
        taken = (Sample(index=i, stage="end_to_end", seconds=seconds, cpu_seconds=0.1) for i in range(ENOUGH))
        return Side(list(taken))

    found = verdicts(side(0.1), side(0.3), COARSE)["end_to_end"]
    assert found.verdict is Verdict.UNDECIDED
    assert found.reason == "the wall clock says slower, the second clock same"
    assert found.witness is not None
    assert found.witness.estimate == 1.0


def test_a_stage_that_is_too_small_to_matter_is_not_waited_for() -> None:
    def side(small: list[float]) -> Side:
        stages = {"end_to_end": [1.0] * len(small), "decode": small}
        return Side(
            [
                Sample(index=i, stage=name, seconds=s)
                for name, seconds in stages.items()
                for i, s in enumerate(seconds)
            ]
        )

    matters = Tolerances(time=0.02, memory=1, memory_bytes=1, energy=1, quality=1, stage_share=0.02)
    noisy = [0.002] * PAIRS_A_PROCESS + [0.006] * PAIRS_A_PROCESS
    noisy *= 10
    found = verdicts(side(noisy), side(noisy[::-1]), matters)["decode"]
    assert (found.verdict, found.reason) == (Verdict.NEGLIGIBLE, "too small a share of the whole to matter")
    assert (
        verdicts(side([20 * s for s in noisy]), side([20 * s for s in noisy[::-1]]), matters)[
            "decode"
        ].verdict
        is Verdict.UNDECIDED
    )


def test_a_difference_below_this_machines_noise_floor_is_not_called_slower() -> None:
    def side(seconds: float, pairs: int) -> Side:
        return Side([Sample(index=i, stage="end_to_end", seconds=seconds) for i in range(pairs)])

    matters = Tolerances(time=0.02, memory=1, memory_bytes=1, energy=1, quality=1, stage_share=0.02)
    floors = {"end_to_end": Spread(sigma=0.1, count=16)}

    def verdict(pairs: int) -> StageVerdict:
        return verdicts(side(1.0, pairs), side(1.05, pairs), matters, floors)["end_to_end"]

    sides = side(1.0, ENOUGH), side(1.05, ENOUGH)
    assert verdicts(*sides, matters)["end_to_end"].verdict is Verdict.SLOWER
    assert verdict(ENOUGH).verdict is Verdict.UNDECIDED
    assert verdict(ENOUGH).reason == "processes of one tree in turns may differ by 8.2% here"
    assert verdict(6 * ENOUGH).verdict is Verdict.SLOWER


def test_pairs_of_the_same_two_processes_are_one_observation() -> None:
    """However many there are: what sets two processes apart stays for as long as they live."""
    rng = np.random.default_rng(0)

    def side(pairs: int, biased: bool) -> Side:
        of_process = np.exp(rng.normal(0, 0.05 * biased, pairs // PAIRS_A_PROCESS)).repeat(PAIRS_A_PROCESS)
        return Side([Sample(index=i, stage="end_to_end", seconds=s) for i, s in enumerate(of_process)])

    matters = Tolerances(time=0.02, memory=1, memory_bytes=1, energy=1, quality=1, stage_share=0.02)
    found = [
        verdicts(side(60 * PAIRS_A_PROCESS, True), side(60 * PAIRS_A_PROCESS, False), matters)["end_to_end"]
        for _ in range(50)
    ]
    assert {each.verdict for each in found} <= {Verdict.UNDECIDED, Verdict.SAME}
    few = verdicts(side(10 * PAIRS_A_PROCESS, True), side(10 * PAIRS_A_PROCESS, False), matters)["end_to_end"]
    assert (few.wall.low, few.wall.high) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("longer", "verdict"), [(1.05, Verdict.MORE_WORK), (1.2, Verdict.SLOWER)], ids=["in proportion", "beyond"]
)
def test_more_patches_are_more_work_and_not_slower_work(longer: float, verdict: Verdict) -> None:
    def side(seconds: float, steps: float) -> Side:
        cell = Cell(workload="gaze", axes={})
        samples = [Sample(index=i, stage="end_to_end", seconds=seconds) for i in range(ENOUGH)]
        return Side(samples, [builders.record(cell, counters={"decode_steps": steps})])

    matters = Tolerances(time=0.02, memory=1, memory_bytes=1e9, energy=1, quality=1, stage_share=0.02)
    sides = side(1.0, 320), side(longer, 336)
    contest = Contest(Cell(workload="gaze", axes={}), ENOUGH, verdicts(*sides, matters), *sides)
    assert contest.stages["end_to_end"].verdict is Verdict.SLOWER
    stage = work_aware(contest, matters).stages["end_to_end"]
    assert stage.verdict is verdict
    if verdict is Verdict.MORE_WORK:
        assert stage.reason.startswith("decode_steps went from 320 to 336")
        assert not outcome(contest, matters).worse


def test_a_process_that_fails_when_it_leaves_is_a_failure(tmp_path: Path) -> None:
    base = tree(tmp_path / "base")
    head = tree(tmp_path / "head", setup="type(self).notes = property(lambda self: os._exit(4))")
    contest = hold(base, head, job(), COARSE, Limits(60.0, most_pairs=2), seed=0)
    assert (contest.failed, contest.failure) == ("head", "its process ended with exit code 4")
    assert len(contest.head.seconds("gaze")) == 2


def test_a_process_that_dies_amid_a_pair_ends_the_contest_with_what_was_measured(tmp_path: Path) -> None:
    base = tree(tmp_path / "base")
    head = tree(tmp_path / "head", work="os._exit(3) if self.calls > 2 else None")
    contest = hold(base, head, job(), COARSE, FEW, seed=0)
    assert (contest.failed, contest.failure) == ("head", "its process ended with exit code 3")
    assert contest.pairs == 1  # the first call is the warm-up
    assert len(contest.base.seconds("gaze")) == len(contest.head.seconds("gaze")) == 1
    assert exit_code([outcome(contest, COARSE)]) is Exit.WORSE


def test_a_base_that_cannot_load_the_cell_says_why(tmp_path: Path) -> None:
    base = tree(tmp_path / "base", setup="raise RuntimeError('no weights')")
    contest = hold(base, tree(tmp_path / "head"), job(), COARSE, FEW, seed=0)
    assert (contest.failed, contest.failure) == ("base", "RuntimeError: no weights")
    found = outcome(contest, COARSE)
    assert not found.worse
    assert exit_code([found]) is Exit.UNDECIDED


def test_other_patches_and_lost_quality_are_worse_whatever_the_time(tmp_path: Path) -> None:
    base = tree(tmp_path / "base")
    head = tree(tmp_path / "head", psnr=19.0, patches="fedcba9876543210")
    contest = hold(base, head, job(), COARSE, Limits(60.0, most_pairs=2), seed=0)
    assert outcome(contest, COARSE).worse == ("other patches are chosen", "psnr went from 20 to 19")
