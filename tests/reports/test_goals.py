import pytest

from bench.records import Cell, Record, Status
from reports.goals import Goal, goals
from suites.loader import load_suite
from tests.reports.fake_suites import (
    attention_cell,
    engine_cell,
    engine_records,
    paired_record,
    record,
    results_from,
)

SHAPE = {"heads": 16, "dtype": "bfloat16"}


def attention(backend: str, mask: str, flops: float, tokens: int = 4240) -> Record:
    """Return a cell that did so many FLOPs in about a second."""
    return record(attention_cell(backend, mask, tokens, **SHAPE), 1.0, counters={"flops": flops})


def reconstruction(seconds: float, dtype: str = "bfloat16") -> Record:
    axes = {"setting": "ratio_0.75", "chunk": 16, "dtype": dtype, "attention": "sdpa", "batch": 1}
    cell = Cell(workload="reconstruct", axes={**axes, "engine": "auto", "reconstructor": "released_size"})
    return record(cell, seconds, counters={"clips": 1, "frames": 16})


def found(records: list[Record], words: str) -> list[Goal]:
    return [goal for goal in goals(results_from(records)) if words in goal.what]


def test_the_fastest_engine_counts_for_step_and_clip() -> None:
    single, half = found(engine_records(), "decode step")
    assert single.met
    assert half.met
    assert "µs with triton" in str(single.found)
    clip = found(engine_records(), "ratio_0.75")[0]
    assert clip.met
    assert "against 2.18 s" in clip.what
    assert "with triton, " in str(clip.found)
    slower = [each for each in engine_records() if each.cell.axes["engine"] == "eager"]
    assert not found(slower, "decode step")[0].met
    assert not found(slower, "ratio_0.75")[0].met


def test_other_batches_and_cells_that_are_not_ok_do_not_count() -> None:
    many = [record(engine_cell("ratio_0.75", "triton", batch=64), 1e-6, counters={"clips": 64})]
    doubtful = [each.model_copy(update={"status": Status.INVALID}) for each in engine_records()]
    for records in (many, doubtful):
        goal = found(records, "ratio_0.75")[0]
        assert goal.found is None
        assert str(goal).startswith("not measured")


def test_what_the_released_package_reached_meets_no_goal_of_ours() -> None:
    assert found([paired_record()], "ratio_0.75")[0].found is None


def test_attention_is_held_against_the_causal_rate_of_flash_at_the_same_shape() -> None:
    flash = attention("flash_attention_2", "causal", 5e14)
    (goal,) = found([flash, attention("triton", "block_causal", 4.5e14)], "attention")
    assert goal.met
    assert "at 4240 tokens" in str(goal.found)
    (goal,) = found([flash, attention("triton", "block_causal", 3e14)], "attention")
    assert goal.found is not None
    assert not goal.met
    for records in ([flash], [flash, attention("triton", "block_causal", 9e14, tokens=512)]):
        (goal,) = found(records, "attention")
        assert goal.found is None


@pytest.mark.parametrize(("seconds", "met"), [(0.06, True), (0.08, False)])
def test_reconstruction_at_the_released_size_is_held_against_half_the_published_time(
    seconds: float, met: bool
) -> None:
    half, single = reversed(found([reconstruction(seconds)], "VideoMAE"))
    assert half.met is met
    assert single.found is None


def test_the_suites_hold_a_cell_for_every_goal() -> None:
    """What the made-up cells above stand for is planned, or a goal could never be met."""
    planned = {
        Cell(workload=point.workload, axes=dict(point.axes)).key
        for suite in ("engines", "kernels", "attention")
        for point in load_suite(suite).points
    }
    needed = [
        *(engine_cell(s, e, d) for s in ("ratio_0.75", "ratio_1.00") for e in ("graph", "triton")
          for d in ("float32", "bfloat16")),
        attention_cell("flash_attention_2", "causal", 4240, **SHAPE),
        attention_cell("triton", "block_causal", 4240, **SHAPE),
        *(reconstruction(1.0, dtype).cell for dtype in ("float32", "bfloat16")),
    ]  # fmt: skip
    assert {cell.key for cell in needed} <= planned
