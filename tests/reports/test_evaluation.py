"""Rows and means of the published evaluation, from records."""

import json

import pytest

from bench.records import Record
from reports.evaluation import (
    CLIP_COLUMNS,
    FRAME_COLUMNS,
    by_setting,
    clip_row,
    frame_rows,
    setting_rows,
    settings_table,
)
from reports.results import CellResult, results_of
from tests.reports.fake_evaluation import evaluation_records, evaluation_run, published_rows

DAMAGED = "clip_02_start_0032"


def results_from(records: list[Record], label: str = "H100", **run: str) -> list[CellResult]:
    return results_of(evaluation_run(records, **run), records, label)


def test_records_give_the_published_rows_of_clips_and_frames() -> None:
    results = results_from(evaluation_records())
    assert [clip_row(result) for result in results] == published_rows("metrics_by_clip_setting.csv")
    assert [row for result in results for row in frame_rows(result)] == published_rows("metrics_by_frame.csv")
    assert tuple(clip_row(results[0])) == CLIP_COLUMNS
    assert set(frame_rows(results[0])[0]) == set(FRAME_COLUMNS)


def test_times_are_medians_of_the_timed_repetitions() -> None:
    (record, *_) = evaluation_records()
    seconds = sorted(s.seconds for s in record.samples if s.stage == "gaze" and not s.warmup)
    (result,) = results_from([record])
    assert clip_row(result)["gaze_seconds"] == seconds[1]


def test_a_clip_that_was_not_evaluated_is_a_row_with_its_name_alone() -> None:
    result = next(r for r in results_from(evaluation_records(damaged=[DAMAGED])) if not r.ok)
    row = clip_row(result)
    assert {name: value for name, value in row.items() if value is not None} == {
        "clip_name": DAMAGED,
        "clip_start": 32,
        "setting": "ratio_0.10",
        "gazing_ratio_arg": 0.1,
    }
    assert frame_rows(result) == []


def test_means_are_over_the_clips_that_have_figures() -> None:
    whole, part = (
        setting_rows([clip_row(result) for result in results_from(evaluation_records(damaged=damaged))])
        for damaged in ((), [DAMAGED])
    )
    rows = [row for row in published_rows("metrics_by_clip_setting.csv") if row["setting"] == "ratio_0.10"]
    psnr = [row["psnr"] for row in rows]
    assert whole[0]["psnr"] == pytest.approx(sum(psnr) / 4)
    assert part[0]["psnr"] == pytest.approx((psnr[0] + psnr[1] + psnr[3]) / 3)
    assert [row["setting"] for row in part] == sorted(row["setting"] for row in part)


def test_a_setting_of_which_no_clip_succeeded_has_no_means() -> None:
    clips = [f"clip_{number:02d}_start_{16 * number:04d}" for number in range(4)]
    rows = setting_rows([clip_row(result) for result in results_from(evaluation_records(damaged=clips))])
    assert len(rows) == 7
    assert {value for row in rows for name, value in row.items() if name != "setting"} == {None}


def test_the_summary_has_a_row_a_setting_and_says_how_many_clips_it_is_of() -> None:
    table = settings_table(results_from(evaluation_records(damaged=[DAMAGED])))
    headings = [column.key for column in table.columns]
    assert headings[0] == "setting"
    assert "clip" not in headings
    assert [row[-1] for row in table.rows] == ["3 of 4 clips"] * 7
    assert [row[-1] for row in settings_table(results_from(evaluation_records())).rows] == ["ok"] * 7
    assert table.troubled(0)


def test_settings_of_several_runs_stand_beside_each_other() -> None:
    results = [
        *results_from(evaluation_records(), "one"),
        *results_from(evaluation_records(), "two", run_id="other"),
    ]
    settings = by_setting(results)
    assert [setting.name for setting in settings[::7]] == ["one, ratio_0.10", "two, ratio_0.10"]
    assert settings_table(results).rows[7][:2] == ("two", "ratio_0.10")


def test_ways_to_evaluate_are_told_apart() -> None:
    results = results_from([*evaluation_records(), *evaluation_records(attention="flex")])
    assert [setting.name for setting in by_setting(results)[::7]] == ["ratio_0.10, sdpa", "ratio_0.10, flex"]


def test_slots_are_a_json_list() -> None:
    (result, *_) = results_from(evaluation_records())
    assert json.loads(str(clip_row(result)["num_gazing_each_frame"])) == [26] * 16
