import csv
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.evaluation import CLIP_COLUMNS, FRAME_COLUMNS, write_evaluation
from tests.reports.fake_run import UNTRAINED

PUBLISHED = Path(str(files("reports.published"))) / "h100"
NUMBERS: dict[str, type] = {"clip_start": int, "non_padded_gazes": int, "frame_idx": int}
TEXTS = ("clip_name", "setting", "non_padded_gazes_by_frame", "num_gazing_each_frame")


def published_rows(name: str) -> list[dict[str, Any]]:
    """Read published rows as an evaluator would hold them: numbers, and None for an argument not given."""
    with (PUBLISHED / name).open(encoding="utf-8", newline="") as file:
        return [
            {
                key: value if key in TEXTS else NUMBERS.get(key, float)(value) if value else None
                for key, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    clips, frames = published_rows("metrics_by_clip_setting.csv"), published_rows("metrics_by_frame.csv")
    write_evaluation(folder, {"seed": 0}, clips, frames, notes=[UNTRAINED])
    return folder


@pytest.mark.parametrize(
    "name", ["metrics_by_clip_setting.csv", "metrics_by_frame.csv", "summary_by_setting.csv"]
)
def test_the_published_figures_give_the_published_files_to_the_byte(folder: Path, name: str) -> None:
    assert (folder / name).read_bytes() == (PUBLISHED / name).read_bytes()


def test_arguments_that_were_not_given_are_empty_and_lists_stay_json(folder: Path) -> None:
    table = pd.read_csv(folder / "metrics_by_clip_setting.csv")
    assert tuple(table.columns) == CLIP_COLUMNS
    assert tuple(pd.read_csv(folder / "metrics_by_frame.csv").columns) == FRAME_COLUMNS
    task_only = table[table["setting"] == "task_0.70"]
    assert task_only["gazing_ratio_arg"].isna().all()
    assert task_only["task_loss_requirement_arg"].eq(0.7).all()
    assert all(len(json.loads(cell)) == 16 for cell in table["num_gazing_each_frame"])


def test_the_summary_is_a_table_ordered_by_what_was_gazed_at(folder: Path) -> None:
    lines = (folder / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# AutoGaze Reconstruction Evaluation"
    assert lines[2:5] == ["Clip starts: 0, 16, 32, 48", "Number of clips: 4", f"Note: {UNTRAINED}"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[6:]]
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


def test_every_published_file_is_written(folder: Path) -> None:
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == {
        "metadata.json",
        "metrics_by_clip_setting.csv",
        "metrics_by_frame.csv",
        "summary_by_setting.csv",
        "summary.txt",
        "plots/gaze_heatmap.png",
        "plots/per_frame_curves.png",
        "plots/tradeoff_curves.png",
    }
    assert json.loads((folder / "metadata.json").read_text(encoding="utf-8")) == {"seed": 0}


def test_rows_with_other_columns_are_a_bug_and_say_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluation rows need the columns clip_name"):
        write_evaluation(tmp_path, {}, [{"clip_name": "a"}], [])
