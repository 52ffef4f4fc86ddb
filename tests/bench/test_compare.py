from pathlib import Path

import numpy as np
import pytest

from autogaze.errors import InputError
from bench.compare import MEMORY_FLOOR, CellComparison, Context, compare, compare_cells
from bench.margins import Margin
from bench.records import Record, Status
from bench.verdicts import Exit, Verdict
from tests.bench import builders

CELL = builders.cell()
QUIET = builders.session({})
STEADY = [1.0, 1.01, 0.99, 1.02, 1.0]


def stages(gaze: float = 1.0, rest: float = 1.0, seed: int | None = None) -> dict[str, list[float]]:
    """Return samples of a gaze and another stage; with a seed, under noise that only adds time."""
    rng = np.random.default_rng(seed)
    scale = 0.0 if seed is None else 0.08
    first, second = (seconds * (1 + scale * rng.exponential(size=7)) for seconds in (gaze, rest))
    return {"end_to_end": list(first + second), "gaze": list(first), "reconstruct": list(second)}


def compared(a: Record, b: Record, tolerance: float = 0.10, margin: float = 1.05) -> CellComparison:
    """Compare on a machine that was calibrated: two runs of one tree differ by up to ``margin``."""
    context = Context(lambda cell, stage: Margin(margin, True, ""), (QUIET,))
    return compare_cells(CELL.key, a, b, tolerance, context=context)


def verdicts(comparison: CellComparison) -> dict[str, Verdict]:
    return {stage.stage: stage.verdict for stage in comparison.stages}


def test_the_same_record_is_not_worse_than_itself() -> None:
    record = builders.record(CELL, stages(seed=1), quality={"psnr": 30.0})
    comparison = compared(record, record)
    assert comparison.worse == ()
    assert comparison.same_patches


def test_a_gaze_stage_slower_by_thirty_percent_is_caught_under_noise() -> None:
    pairs = [(stages(seed=seed), stages(gaze=1.3, seed=seed + 1000)) for seed in range(20)]
    found = [verdicts(compared(builders.record(CELL, a), builders.record(CELL, b))) for a, b in pairs]
    assert sum(stage["gaze"] is Verdict.SLOWER for stage in found) >= 18
    assert not any(stage["reconstruct"] is Verdict.SLOWER for stage in found)


@pytest.mark.parametrize("seed", range(20))
def test_two_runs_of_the_same_tree_pass_under_noise(seed: int) -> None:
    a, b = (builders.record(CELL, stages(seed=each)) for each in (seed, seed + 1000))
    assert compared(a, b).worse == ()


def test_a_burst_of_noise_that_spares_the_fastest_repetition_is_not_a_slowdown() -> None:
    a = builders.record(CELL, {"end_to_end": STEADY})
    b = builders.record(CELL, {"end_to_end": [1.5, 1.6, 1.01, 1.7, 1.6]})
    assert verdicts(compared(a, b)) == {"end_to_end": Verdict.UNDECIDED}


@pytest.mark.parametrize(("ours", "worse"), [(1.0, ()), (2.0, ("ours takes 2.00× as long",))])
def test_a_peer_that_became_slower_and_larger_is_no_fault_of_ours(ours: float, worse: tuple[str]) -> None:
    a, b = (
        builders.record(
            CELL,
            {"end_to_end": [3.1 * theirs] * 5, "gaze": [3.0 * theirs] * 5, "ours": [own / 100] * 5},
            resident=size,
        )
        for theirs, own, size in ((1.0, 1.0, 2**30), (2.0, ours, 2**31))
    )
    comparison = compared(a, b)
    assert verdicts(comparison)["gaze"] is Verdict.SLOWER
    assert comparison.worse == worse


@pytest.mark.parametrize(
    ("load_a", "load_b", "seconds_b", "verdict"),
    [
        (0.0, 0.5, 1.6, Verdict.UNDECIDED),
        (0.5, 0.5, 1.6, Verdict.SLOWER),
        (0.5, 0.0, 1.6, Verdict.SLOWER),
        (0.5, 0.0, 0.5, Verdict.UNDECIDED),
        (0.0, 0.5, 1.0, Verdict.UNDECIDED),
        (0.0, 0.5, 0.5, Verdict.FASTER),
    ],
)
def test_a_change_that_other_programs_may_have_made_is_undecided(
    load_a: float, load_b: float, seconds_b: float, verdict: Verdict
) -> None:
    a = builders.record(CELL, {"end_to_end": STEADY}, others=load_a)
    b = builders.record(CELL, {"end_to_end": [seconds_b] * 5}, others=load_b)
    (stage,) = compare_cells(CELL.key, a, b).stages
    assert stage.verdict is verdict
    assert ("other programs used 50% more" in stage.reason) is (verdict is Verdict.UNDECIDED)


def test_faster_and_same_are_said() -> None:
    a = builders.record(CELL, {"end_to_end": STEADY})
    assert verdicts(compared(a, builders.record(CELL, {"end_to_end": [0.5] * 5}))) == {
        "end_to_end": Verdict.FASTER
    }
    assert verdicts(compared(a, a)) == {"end_to_end": Verdict.SAME}


def test_few_samples_decide_nothing() -> None:
    a, b = (builders.record(CELL, {"end_to_end": [value] * 3}) for value in (1.0, 2.0))
    (stage,) = compared(a, b).stages
    assert stage.verdict is Verdict.UNDECIDED
    assert stage.reason == "only 3 samples: need at least 5"


def test_a_stage_that_hardly_matters_is_not_worse() -> None:
    a, b = (builders.record(CELL, {"end_to_end": STEADY, "decode": [value] * 5}) for value in (0.001, 0.002))
    found = compared(a, b)
    assert (found.worse, found.undecided) == ((), ())
    assert verdicts(found)["decode"] is Verdict.NEGLIGIBLE


def test_warm_up_and_inner_stages_are_not_compared() -> None:
    record = builders.record(CELL, {"end_to_end": STEADY, "gaze.steps": STEADY})
    record = record.model_copy(
        update={"samples": (*record.samples, record.samples[0].model_copy(update={"warmup": True}))}
    )
    assert [(stage.stage, stage.ratio.estimate) for stage in compared(record, record).stages] == [
        ("end_to_end", 1.0)
    ]


def test_more_memory_is_worse_beyond_tolerance_and_floor() -> None:
    a = builders.record(CELL, resident=2**30)
    assert compared(a, builders.record(CELL, resident=2**30 * 105 // 100)).worse == ()
    assert "resident_peak went from" in compared(a, builders.record(CELL, resident=2**30 * 12 // 10)).worse[0]
    small = builders.record(CELL, resident=2**20)
    assert compared(small, builders.record(CELL, resident=2**20 + MEMORY_FLOOR)).worse == ()


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ({"psnr": 30.0}, {"psnr": 29.9}, False),
        ({"psnr": 30.0}, {"psnr": 29.0}, True),
        ({"loss": 1.0}, {"loss": 1.1}, True),
        ({"loss": 1.0}, {"loss": 0.5}, False),
        ({"ssim": 0.9}, {"ssim": float("nan")}, True),
        ({"psnr": 30.0}, {}, False),
    ],
)
def test_quality_may_not_fall(before: dict[str, float], after: dict[str, float], worse: bool) -> None:
    a, b = (builders.record(CELL, quality=quality) for quality in (before, after))
    assert bool(compared(a, b).worse) is worse


def test_changed_work_is_told_apart_from_slower_work() -> None:
    a, b = (
        builders.record(CELL).model_copy(update={"counters": {"decode_steps": n, "frames": 16.0}})
        for n in (4.0, 8.0)
    )
    assert [(change.name, change.a, change.b) for change in compared(a, b).work] == [
        ("decode_steps", 4.0, 8.0)
    ]


def test_different_patches_are_said() -> None:
    assert compared(builders.record(CELL), builders.record(CELL, patch_hash="b")).same_patches is False


def test_a_cell_that_was_ok_and_is_not_any_more_is_worse() -> None:
    ok, failed = builders.record(CELL), builders.record(CELL, status=Status.OUT_OF_MEMORY)
    assert compared(ok, failed).worse == ("was ok, is now out of memory",)
    assert compared(failed, ok).worse == ()
    assert compare_cells(CELL.key, ok, None).worse == ("was ok, is now not measured",)
    assert compare_cells(CELL.key, ok, None, planned_in_b=False).worse == ()


def pair(parent: Path, **of_b: object) -> tuple[Path, Path]:
    """Write two runs of one cell; ``of_b`` says how the second differs."""
    a = builders.write(builders.run([CELL], "a"), [builders.record(CELL)], parent)
    b = builders.write(builders.run([CELL], "b", **of_b), [builders.record(CELL)], parent)  # type: ignore[arg-type]
    return a, b


def test_runs_of_the_same_tree_have_nothing_worse(tmp_path: Path) -> None:
    comparison = compare(*pair(tmp_path, fields={"git.commit": "another"}))
    assert (comparison.exit_code, comparison.worse, len(comparison.cells)) == (0, (), 1)


def test_cells_on_one_side_only_are_rows(tmp_path: Path) -> None:
    cells = [builders.cell(number) for number in range(3)]
    a = builders.write(builders.run(cells[:2], "a"), [builders.record(cell) for cell in cells[:2]], tmp_path)
    b = builders.write(builders.run(cells[1:], "b"), [builders.record(cell) for cell in cells[1:]], tmp_path)
    statuses = [(cell.status_a, cell.status_b) for cell in compare(a, b).cells]
    assert statuses == [(Status.OK, None), (Status.OK, Status.OK), (None, Status.OK)]
    assert compare(a, b).exit_code == 0


def test_a_worse_cell_makes_the_exit_code_one(tmp_path: Path) -> None:
    a = builders.write(builders.run([CELL], "a"), [builders.record(CELL, stages())], tmp_path)
    b = builders.write(builders.run([CELL], "b"), [builders.record(CELL, stages(gaze=1.6))], tmp_path)
    assert compare(a, b).exit_code is Exit.WORSE
    assert compare(a, b, tolerance=0.7).exit_code is Exit.NOTHING_WORSE


def test_runs_that_allow_no_verdict_are_neither_worse_nor_the_same(tmp_path: Path) -> None:
    cells = [builders.cell(number) for number in range(11)]
    a, b = (
        builders.write(
            builders.run(cells, name),
            [builders.record(cell, {"end_to_end": [seconds] * 5}, others=others) for cell in cells],
            tmp_path,
        )
        for name, seconds, others in (("a", 1.0, 0.0), ("b", 20.0, 0.6))
    )
    found = compare(a, b)
    assert found.exit_code is Exit.UNDECIDED
    assert (len(found.worse), len(found.undecided), len(found.compared)) == (0, 11, 11)


def test_the_geometric_mean_is_over_cells_that_both_have(tmp_path: Path) -> None:
    cells = [builders.cell(number) for number in range(3)]
    a = builders.write(
        builders.run(cells, "a"),
        [builders.record(cell, {"end_to_end": [1.0] * 5}) for cell in cells],
        tmp_path,
    )
    b = builders.write(
        builders.run(cells[:2], "b"),
        [
            builders.record(cell, {"end_to_end": [seconds] * 5})
            for cell, seconds in zip(cells[:2], (0.5, 2.0))
        ],
        tmp_path,
    )
    found = compare(a, b)
    assert found.mean_ratios == {"end_to_end": pytest.approx(1.0)}
    assert found.left_out == (1, 0)


@pytest.mark.parametrize(
    ("of_b", "sentence"),
    [
        ({"suite": "other"}, "run a is of suite fake version 1, run b of suite other version 1"),
        ({"version": 2}, "compare runs of the same suite"),
        ({"fields": {"device.name": "NVIDIA H100"}}, "runs differ in device: 'cpu' in a, 'NVIDIA H100' in b"),
        ({"fields": {"gpu.driver": "560"}}, "or allow it with --allow driver"),
        ({"settings": {"video_sha256": "abc"}}, "runs differ in video"),
    ],
)
def test_runs_that_differ_where_it_matters_are_refused_by_name(
    tmp_path: Path, of_b: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError) as refusal:
        compare(*pair(tmp_path, **of_b))
    assert sentence in str(refusal.value)


def test_a_difference_can_be_allowed_and_is_then_said(tmp_path: Path) -> None:
    comparison = compare(*pair(tmp_path, fields={"gpu.driver": "560"}), allow=["driver"])
    assert comparison.allowed == ("NVIDIA driver: None → 560",)


def test_an_unknown_difference_cannot_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown difference to allow 'drivers': did you mean 'driver'"):
        compare(*pair(tmp_path), allow=["drivers"])


def test_runs_without_a_common_cell_are_refused(tmp_path: Path) -> None:
    a = builders.write(builders.run([CELL], "a"), [builders.record(CELL)], tmp_path)
    b = builders.write(builders.run([builders.cell(1)], "b"), [builders.record(builders.cell(1))], tmp_path)
    with pytest.raises(InputError, match="have no measured cell in common"):
        compare(a, b)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_must_be_a_share(tmp_path: Path, tolerance: float) -> None:
    with pytest.raises(InputError, match="must be a share of at least 0"):
        compare(*pair(tmp_path), tolerance=tolerance)
