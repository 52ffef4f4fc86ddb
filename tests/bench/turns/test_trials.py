"""Trials on rounds made by hand."""

import numpy as np
import pytest

from bench.records import Cell, Sample
from bench.turns.contest import PAIRS_A_PROCESS, Limits, Side
from bench.turns.interval_rule import interval_verdicts
from bench.turns.recording import Round, noise_of
from bench.turns.tolerances import Tolerances
from bench.turns.trials import Pool, Rules, Said, Way, gravest, replay, try_out
from bench.verdicts import Verdict
from tests.bench import builders

CELL = Cell(workload="gaze", axes={})
RULES = Rules(
    Tolerances(time=0.02, memory=0.5, memory_bytes=1e9, energy=1, quality=1, stage_share=0.02),
    Limits(seconds=1e9, most_pairs=400),
)


def side(seconds: list[float], resident: int = 2**30) -> Side:
    samples = [
        Sample(index=i, stage=stage, seconds=each, cpu_seconds=each)
        for i, each in enumerate(seconds)
        for stage in ("end_to_end", "gaze", "gaze.steps")
    ]
    record = builders.record(CELL, {"end_to_end": seconds, "gaze": seconds}, resident=resident)
    return Side(samples, [record])


def made(seed: int, slower: float = 1.0, noise: float = 0.02, resident: int = 2**30) -> Round:
    """A round in which each process has a speed of its own, and each repetition some noise."""
    rng = np.random.default_rng(seed)
    base, head = (1.0 * np.exp(rng.normal(0, noise / 4) + rng.normal(0, noise, 20)) for _ in range(2))
    return Round(side(list(base)), side(list(slower * head), resident))


def pool(slower: float = 1.0, rounds: int = 40, **more: float) -> Pool:
    return Pool(slower == 1.0, [made(seed, slower, **more) for seed in range(rounds)])  # type: ignore[arg-type]


def test_a_replay_stops_where_the_contest_would_have_and_uses_no_round_twice() -> None:
    rounds = [made(seed, slower=1.5) for seed in range(20)]
    short = replay(CELL, rounds, RULES)
    assert short.stages["gaze"].verdict is Verdict.SLOWER
    assert short.pairs == 12 * PAIRS_A_PROCESS
    assert len(short.base.records) == 12
    undecided = replay(CELL, [made(seed, noise=0.5) for seed in range(3)], RULES)
    assert undecided.pairs == 3 * PAIRS_A_PROCESS
    assert len(undecided.head.records) == 3
    assert {stage.verdict for stage in undecided.stages.values()} == {Verdict.UNDECIDED}
    few = replay(CELL, rounds, Rules(RULES.tolerances, Limits(seconds=1e9, most_pairs=3)))
    assert few.pairs == 3


def test_the_same_tree_is_never_worse_and_a_slower_one_is() -> None:
    same = try_out(pool(), CELL, Way.TURNS, 20, RULES, seed=0)
    assert same.total() == 20
    assert same[Said.WORSE] == same[Said.FASTER] == 0
    assert try_out(pool(1.2), CELL, Way.TURNS, 20, RULES, seed=0) == {Said.WORSE: 20}


def test_more_memory_of_the_same_tree_is_a_false_alarm_too() -> None:
    grown = Pool(True, [made(seed, resident=2**33) for seed in range(4)])
    assert try_out(grown, CELL, Way.TURNS, 20, RULES, seed=0)[Said.WORSE] > 0


def test_trials_follow_from_their_seed() -> None:
    noisy = pool(rounds=6, noise=0.08)
    first, again = (try_out(noisy, CELL, Way.TURNS, 10, RULES, seed=5) for _ in range(2))
    assert first == again


def test_recorded_runs_are_processes_that_did_not_take_turns() -> None:
    bases = [made(seed, slower=2.0) for seed in range(2)]
    apart = Pool(False, bases)
    assert try_out(apart, CELL, Way.RECORDED, 10, RULES, seed=0) == {Said.WORSE: 10}
    assert try_out(apart, CELL, Way.BEFORE, 10, RULES, seed=0) == {Said.WORSE: 10}
    with pytest.raises(ValueError, match="a pool of 1 rounds leaves nothing to draw"):
        try_out(Pool(False, bases[:1]), CELL, Way.RECORDED, 10, RULES, seed=0)


def test_a_drift_between_runs_fools_the_old_way_and_not_the_others() -> None:
    fast, slow = (Pool(True, [made(seed)]).rounds[0] for seed in (0, 1))
    drifted = Round(*(side([1.3 * s for s in each.seconds("gaze")]) for each in (slow.base, slow.head)))
    pools = Pool(True, [fast, drifted])
    assert try_out(pools, CELL, Way.BEFORE, 20, RULES, seed=0)[Said.WORSE] > 5
    assert try_out(pools, CELL, Way.RECORDED, 20, RULES, seed=0)[Said.WORSE] == 0
    assert try_out(pools, CELL, Way.TURNS, 20, RULES, seed=0)[Said.WORSE] == 0


@pytest.mark.parametrize(
    ("others", "verdict"), [(0.0, Verdict.SLOWER), (0.5, Verdict.UNDECIDED)], ids=["quiet", "loaded"]
)
def test_the_old_way_is_what_it_was(others: float, verdict: Verdict) -> None:
    a = builders.record(CELL, {"end_to_end": [1.0] * 5})
    b = builders.record(CELL, {"end_to_end": [1.3] * 5}, others=others)
    assert interval_verdicts(a, b) == {"end_to_end": verdict}
    hardly = builders.record(CELL, {"end_to_end": [1.0] * 5, "decode": [0.002] * 5})
    assert interval_verdicts(hardly, hardly) == {"end_to_end": Verdict.SAME, "decode": Verdict.SAME}


def test_a_cell_is_what_its_gravest_stage_is() -> None:
    assert gravest([Verdict.SAME, Verdict.UNDECIDED, Verdict.SLOWER]) is Said.WORSE
    assert gravest([Verdict.SAME, Verdict.MORE_WORK]) is Said.MORE_WORK
    assert gravest([Verdict.NEGLIGIBLE, Verdict.SAME]) is Said.SAME


def test_rounds_tell_the_noise_of_each_stage() -> None:
    noise = noise_of([made(seed) for seed in range(4)])
    assert noise.keys() == {"end_to_end", "gaze"}
    assert len(noise["gaze"].medians) == 8
    assert noise["gaze"].ratios == pytest.approx((1.0,) * 4, abs=0.05)
