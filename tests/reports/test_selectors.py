"""What reports say of selectors: who beats whom, by how much, and how far that can be trusted."""

import pytest

from reports.document import Bullets, Table
from reports.results import CellResult
from reports.sections import document
from reports.selectors import FEWEST, WORKLOAD, blocks, by_clip, compare
from reports.summaries import groups
from reports.tables import summary_table
from suites.loader import load_suite
from tests.reports.fake_run import UNTRAINED
from tests.reports.fake_selectors import (
    CLIPS,
    NO_LPIPS,
    quality_cell,
    quality_record,
    quality_records,
    with_losses,
)
from tests.reports.fake_suites import results_from


@pytest.fixture(scope="module")
def results() -> list[CellResult]:
    return results_from(quality_records())


def tables(results: list[CellResult]) -> list[Table]:
    return [block for block in blocks(results) if isinstance(block, Table)]


def sentences(results: list[CellResult]) -> list[str]:
    return [item for block in blocks(results) if isinstance(block, Bullets) for item in block.items]


def rows(table: Table) -> list[dict[str, str]]:
    return [
        dict(zip((column.key for column in table.columns), row, strict=True)) for row in table.formatted()
    ]


def test_the_gaze_model_is_held_against_each_selector_clip_by_clip(results: list[CellResult]) -> None:
    margins = rows(tables(results)[0])
    assert len(margins) == 3 * 2 * 3
    random = [row for row in margins if row["against"] == "random"]
    assert {row["verdict"] for row in random} == {"better"}
    assert all(-0.045 < float(row["low"]) < float(row["high"]) < -0.035 for row in random), (
        "clips differ by 0.5"
    )
    alike = [row["verdict"] for row in margins if row["against"] == "laplacian"]
    assert alike == ["no difference shown"] * 6


def test_a_selector_of_fewer_clips_is_compared_on_those(results: list[CellResult]) -> None:
    greedy = [row for row in rows(tables(results)[0]) if row["against"] == "greedy"]
    assert {(row["clips"], row["verdict"]) for row in greedy} == {("4", "worse")}
    assert all(abs(float(row["loss"]) - float(row["other_loss"]) - 0.02) < 0.005 for row in greedy)
    assert any(
        sentence.startswith("in some comparisons there are only 4 samples") for sentence in sentences(results)
    )


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_nobody_wins_on_a_few_clips(clips: int) -> None:
    few = results_from(
        [
            quality_record(quality_cell(selector, clips=clips), loss, 0.1)
            for selector, loss in (("gaze", 0.4), ("random", 0.9))
        ]
    )
    (row,) = rows(tables(few)[0])
    assert (row["clips"], row["verdict"], row["p_value"]) == (str(clips), "too few clips", "–")
    assert (row["high"] == "∞") == (clips == 1)
    (sentence,) = sentences(few)
    assert sentence.endswith("in 0 of 1 cells; not in video ratio_0.10 (too few clips)")


def test_one_of_many_comparisons_must_differ_by_more_than_a_single_one() -> None:
    def losses(selector: str, setting: str) -> list[float]:
        if selector == "gaze":
            return [0.5] * CLIPS
        return [0.51, 0.55, 0.53, 0.49, 0.54, 0.52] if setting == "ratio_0.10" else [0.4, 0.6] * (CLIPS // 2)

    def verdicts(settings: list[str]) -> list[str]:
        records = [
            with_losses(quality_record(quality_cell(selector, setting), 0.5, 0.1), losses(selector, setting))
            for selector in ("gaze", "random")
            for setting in settings
        ]
        return [row["verdict"] for row in rows(tables(results_from(records))[0])]

    assert verdicts(["ratio_0.10"]) == ["better"]
    assert verdicts(["ratio_0.10", "ratio_0.25", "ratio_0.50"]) == ["no difference shown"] * 3


def test_clips_of_one_video_are_said_to_be_dependent(results: list[CellResult]) -> None:
    said = [sentence for sentence in sentences(results) if "not independent" in sentence]
    assert [sentence.startswith("clips of one video are consecutive segments") for sentence in said] == [True]
    painted = [result for result in results if result.axis("source") != "video"]
    assert not any("not independent" in sentence for sentence in sentences(painted))


def test_where_the_gaze_model_does_not_win_is_said_by_name(results: list[CellResult]) -> None:
    said = sentences(results)
    assert "random: the gaze model is better in 6 of 6 cells" in said
    (laplacian,) = [sentence for sentence in said if sentence.startswith("laplacian")]
    assert laplacian.startswith(
        "laplacian: the gaze model is better in 0 of 6 cells; not in video ratio_0.05 ("
    )


def test_untrained_weights_win_and_lose_nothing() -> None:
    cells = [quality_cell("gaze"), quality_cell("random")]
    untrained = results_from([quality_record(cell, 0.5, 0.1, notes=(UNTRAINED,)) for cell in cells])
    assert [row["verdict"] for row in rows(tables(untrained)[0])] == ["untrained weights"]
    assert sentences(untrained) == []


def test_a_loss_that_is_not_a_number_is_no_draw() -> None:
    cells = [quality_cell("gaze"), quality_cell("random")]
    broken = results_from([quality_record(cell, loss, 0.1) for cell, loss in zip(cells, (0.5, float("nan")))])
    assert [row["verdict"] for row in rows(tables(broken)[0])] == ["a loss is not a number"]


def test_cells_that_differ_in_more_than_their_setting_are_told_apart() -> None:
    cells = [
        quality_cell(selector, dtype=dtype)
        for selector in ("gaze", "laplacian")
        for dtype in ("float32", "bfloat16")
    ]
    both = results_from([quality_record(cell, 0.5, 0.1) for cell in cells])
    assert [row["source"] for row in rows(tables(both)[0])] == ["video, float32", "video, bfloat16"]
    (sentence,) = (each for each in sentences(both) if each.startswith("laplacian"))
    assert "video, float32 ratio_0.10 (" in sentence


def test_step_positions_are_compared_with_each_other(results: list[CellResult]) -> None:
    (row,) = rows(tables(results)[1])
    assert (row["positions"], row["setting"], row["verdict"]) == ("sequential", "ratio_0.10", "worse")
    assert float(row["difference"]) == pytest.approx(0.01, abs=0.003)


def test_the_stopping_rule_is_judged_by_rank_and_by_gap(results: list[CellResult]) -> None:
    (sentence,) = [sentence for sentence in sentences(results) if "rank correlation" in sentence]
    assert sentence.startswith("video: mean absolute gap 0.1")
    assert "over 4 requirements of each clip, rank correlation 0." in sentence
    sweep = rows(tables(results)[2])
    assert [row["requested"] for row in sweep] == ["0.30", "0.40", "0.60", "0.80"]
    assert all(float(row["gap"]) == pytest.approx(-0.02, abs=0.005) for row in sweep)


def test_cells_without_a_clip_in_common_are_not_compared() -> None:
    ours, theirs = results_from(
        [quality_record(quality_cell(selector), 0.5, 0.1) for selector in ("gaze", "random")]
    )
    assert theirs.record is not None
    elsewhere = theirs.record.model_copy(
        update={"frames": tuple(f.model_copy(update={"clip": f.clip + 50}) for f in theirs.frames)}
    )
    assert compare(ours, CellResult(theirs.run, theirs.label, theirs.cell, elsewhere)) is None


def test_the_clips_of_a_cell_are_those_that_there_were_not_those_asked_for() -> None:
    asked = quality_cell(clips=24)
    made = quality_record(asked, 0.5, 0.1)
    measured = made.model_copy(update={"counters": {**made.counters, "clips": 4}})
    other = quality_record(quality_cell("random", clips=24), 0.6, 0.1)
    few, many = results_from([measured, other])
    assert [result.axis("clips") for result in (few, many)] == [4, 24]
    (group,) = groups([few, many])
    table = summary_table(group)
    shown = {column.key: place for place, column in enumerate(table.columns)}["clips"]
    assert [row[shown] for row in table.rows] == [4, 24]
    assert compare(few, many) is not None


def test_a_clip_stands_for_its_frames() -> None:
    (result,) = results_from([quality_record(quality_cell(), 0.5, 0.1)])
    means = by_clip(result, "psnr")
    assert list(means) == [0, 1, 2, 3, 4, 5]
    assert means[2] == pytest.approx(26 - 5 - 2)


def test_other_suites_say_nothing_of_selectors(gpu_results: list[CellResult]) -> None:
    assert blocks(gpu_results) == []
    titles = [section.title for section in document(gpu_results).sections]
    assert "Selectors compared" not in titles


def test_a_missing_judge_is_a_row_with_its_cure(results: list[CellResult]) -> None:
    content = document(results)
    assert "Selectors compared" in [section.title for section in content.sections]
    (summary,) = [section for section in content.sections if section.title == "Summary"]
    said = [item for block in summary.blocks if isinstance(block, Bullets) for item in block.items]
    assert any(sentence.endswith(f"unsupported ({NO_LPIPS})") for sentence in said)


def test_the_suite_compares_selectors_on_clips_enough_for_a_verdict() -> None:
    planned = [dict(point.axes) for point in load_suite("quality").points if point.workload == WORKLOAD]
    compared = [
        axes for axes in planned if str(axes["setting"]).startswith("ratio") and axes["judge"] == "pixels"
    ]
    greedy = [int(axes["clips"] or 0) for axes in compared if axes["selector"] == "greedy"]
    others = [int(axes["clips"] or 0) for axes in compared if axes["selector"] != "greedy"]
    assert min(greedy) >= FEWEST
    assert min(others) >= 24
