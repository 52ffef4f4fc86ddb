"""The published evaluator's files, drawn into a run's folder and drawn again."""

import json
from pathlib import Path

import pandas as pd
import pytest

from reports import write_all
from reports.evaluation import CLIP_COLUMNS, FRAME_COLUMNS
from reports.evaluation_files import write_tables
from tests.reports.fake_evaluation import (
    DAMAGED,
    PUBLISHED,
    evaluation_records,
    published_rows,
    write_evaluation_run,
)
from tests.reports.fake_run import UNTRAINED
from tests.reports.test_terminal import printed

TABLES = ["metrics_by_clip_setting.csv", "metrics_by_frame.csv", "summary_by_setting.csv"]
SETTINGS = [row["setting"] for row in published_rows("metrics_by_clip_setting.csv")[:7]]
FILES = {
    "metadata.json",
    *TABLES,
    "summary.txt",
    "plots/gaze_heatmap.png",
    "plots/per_frame_curves.png",
    "plots/tradeoff_curves.png",
    *(f"visualizations/clip_00_start_0000_{setting}.png" for setting in SETTINGS),
}
LATE_CLIP = "clip_03_start_0048"


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the published clips and its report."""
    folder = write_evaluation_run(tmp_path_factory.mktemp("whole"), evaluation_records(notes=(UNTRAINED,)))
    write_all(folder)
    return folder


@pytest.fixture(scope="module")
def damaged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but its last clip could not be decoded."""
    folder = write_evaluation_run(tmp_path_factory.mktemp("damaged"), evaluation_records([LATE_CLIP]))
    write_all(folder)
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_the_published_figures_give_the_published_files_to_the_byte(run: Path, name: str) -> None:
    assert (run / "evaluation" / name).read_bytes() == (PUBLISHED / name).read_bytes()


def test_arguments_that_were_not_given_are_empty_and_lists_stay_json(run: Path) -> None:
    table = pd.read_csv(run / "evaluation/metrics_by_clip_setting.csv")
    assert tuple(table.columns) == CLIP_COLUMNS
    assert tuple(pd.read_csv(run / "evaluation/metrics_by_frame.csv").columns) == FRAME_COLUMNS
    task_only = table[table["setting"] == "task_0.70"]
    assert task_only["gazing_ratio_arg"].isna().all()
    assert task_only["task_loss_requirement_arg"].eq(0.7).all()
    assert all(len(json.loads(cell)) == 16 for cell in table["num_gazing_each_frame"])


def test_the_summary_is_a_table_ordered_by_what_was_gazed_at(run: Path) -> None:
    lines = (run / "evaluation/summary.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# AutoGaze Reconstruction Evaluation"
    assert lines[2:5] == [
        "Clip starts: 0, 16, 32, 48",
        "Number of clips: 4",
        f"Note: {UNTRAINED} (all measured cells)",
    ]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == [
        "setting",
        "actual_gaze_ratio",
        "non_padded_gazes",
        "reconstruction_loss",
        "pixel_mae",
        "psnr",
        "ssim",
        "gaze_seconds",
        "reconstruction_seconds",
    ]
    assert rows[2] == [
        "ratio_0.75_task_0.70",
        "0.0528",
        "223.8",
        "0.9398",
        "0.0251",
        "26.809",
        "0.8875",
        "0.2738",
        "0.1158",
    ]
    ratios = [float(row[1]) for row in rows[2:]]
    assert len(ratios) == 7
    assert ratios == sorted(ratios)


def test_exactly_the_published_files_are_written(run: Path, damaged_run: Path) -> None:
    assert files_in(run / "evaluation") == FILES
    assert files_in(damaged_run / "evaluation") == FILES


def test_a_report_drawn_again_is_the_same_from_records_alone(run: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {name: (run / "evaluation" / name).read_bytes() for name in sorted(FILES)}

    before = contents()
    (run / "evaluation/summary.txt").write_text("old")
    (run / "evaluation/leftover.png").touch()
    written = write_all(run)
    assert contents() == before
    assert {str(path.relative_to(run / "evaluation")) for path in written[-len(FILES) :]} == FILES
    assert files_in(run / "evaluation") == FILES


def test_metadata_keeps_its_shape_and_tells_what_became_of_each_clip(damaged_run: Path) -> None:
    entries = json.loads((damaged_run / "evaluation/metadata.json").read_text(encoding="utf-8"))
    assert len(entries) == 28
    first, last = entries[0], entries[-1]
    assert (first["clip_name"], first["setting"]) == ("clip_00_start_0000", "ratio_0.10")
    assert first["gaze_outputs"]["scales"] == [32, 64, 112, 224]
    assert first["gaze_outputs"]["num_vision_tokens_each_frame"] == 265
    assert first["gaze_outputs"]["task_loss_requirement"] is None
    assert first["details"] == {"gaze.engine": "graph"}
    assert (first["status"], first["reason"], first["patch_hash"]) == ("ok", None, "0123456789abcdef")
    assert (last["clip_name"], last["setting"]) == (LATE_CLIP, "ratio_1.00")
    assert (last["status"], last["reason"], last["gaze_outputs"]) == ("failed", DAMAGED, None)


def test_a_late_clip_that_was_not_evaluated_is_named_and_the_others_stand(damaged_run: Path) -> None:
    summary = (damaged_run / "evaluation/summary.txt").read_text(encoding="utf-8")
    assert f"Not evaluated: 7 of 28 cells: {LATE_CLIP}: failed ({DAMAGED})" in summary
    table = pd.read_csv(damaged_run / "evaluation/metrics_by_clip_setting.csv")
    assert len(table) == 28
    late = table[table["clip_name"] == LATE_CLIP]
    assert late["psnr"].isna().all()
    assert late["setting"].tolist() == SETTINGS
    published = pd.read_csv(PUBLISHED / "metrics_by_clip_setting.csv")
    assert table[table["clip_name"] != LATE_CLIP]["psnr"].tolist() == published["psnr"].tolist()[:21]


def test_the_report_of_the_run_shows_settings_and_names_the_late_clip(damaged_run: Path) -> None:
    source = (damaged_run / "report.md").read_text(encoding="utf-8")
    summary = source.partition("## Summary")[2].partition("\n## ")[0]
    assert sum(line.startswith(("| ratio", "| task")) for line in summary.splitlines()) == 7
    assert DAMAGED in summary
    for name in ("evaluation_tradeoff", "evaluation_by_frame", "evaluation_gazes"):
        assert f"plots/{name}.png" in source


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_shows_a_row_a_setting_within_its_width(damaged_run: Path, width: int) -> None:
    screen = printed(damaged_run, width)
    assert max(map(len, screen.splitlines())) <= width
    rows = [line for line in screen.splitlines() if line.startswith(("ratio_", "task_"))]
    assert len(rows) == 7
    assert all("3 of 4" in row for row in rows)
    assert f"{LATE_CLIP}: failed" in screen


def test_an_evaluation_of_which_no_clip_succeeded_still_says_why(tmp_path: Path) -> None:
    clips = {row["clip_name"] for row in published_rows("metrics_by_clip_setting.csv")}
    run = write_evaluation_run(tmp_path, evaluation_records(clips))
    write_all(run)
    assert files_in(run / "evaluation") == {"metadata.json", *TABLES, "summary.txt"}
    summary = (run / "evaluation/summary.txt").read_text(encoding="utf-8")
    assert DAMAGED in summary
    assert "| ratio_0.10           |                 – |" in summary


def test_pictures_whose_arrays_are_gone_are_left_out(tmp_path: Path) -> None:
    run = write_evaluation_run(tmp_path, evaluation_records()[:7])
    for array in (run / "arrays").iterdir():
        array.unlink()
    write_all(run)
    assert files_in(run / "evaluation") == {name for name in FILES if not name.startswith("visual")}


def test_ways_to_evaluate_have_folders_of_their_own(tmp_path: Path) -> None:
    records = [*evaluation_records()[:7], *evaluation_records(attention="flex")[:7]]
    run = write_evaluation_run(tmp_path, records)
    write_all(run)
    expected = {f"{way}/{name}" for way in ("sdpa", "flex") for name in FILES}
    assert files_in(run / "evaluation") == expected


def test_metadata_may_be_anything_that_json_can_hold(tmp_path: Path) -> None:
    write_tables(tmp_path, {"seed": 0}, [], [])
    assert json.loads((tmp_path / "metadata.json").read_text(encoding="utf-8")) == {"seed": 0}
