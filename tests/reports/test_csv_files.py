import csv
from pathlib import Path

import pandas as pd
import pytest

from reports.csv_files import write_csv_files
from reports.results import CellResult
from tests.reports.fake_suites import attention_records, kernel_records, results_from


def test_every_cell_is_in_the_cell_and_stage_files(run_folder: Path) -> None:
    cells, stages = pd.read_csv(run_folder / "cells.csv"), pd.read_csv(run_folder / "stages.csv")
    assert len(cells) == 10
    assert cells["status"].tolist().count("ok") == 7
    assert cells["reason"].count() == 3
    assert len(stages.groupby(["setting", "chunk"])) == 10


def test_values_are_unrounded_and_in_si_units(run_folder: Path, results: list[CellResult]) -> None:
    with (run_folder / "cells.csv").open(encoding="utf-8") as file:  # older pandas are off by a digit
        first = next(csv.DictReader(file))
    assert float(first["end_to_end_seconds"]) == results[0].median("end_to_end")
    assert int(first["resident_peak_bytes"]) == 712 * 2**20
    assert first["setting"] == "ratio_0.10"


def test_stage_rows_hold_the_time_of_a_clip_and_of_a_frame(run_folder: Path) -> None:
    stages = pd.read_csv(run_folder / "stages.csv")
    first = stages[stages["stage"] == "end_to_end"].iloc[0]
    assert first["seconds_per_clip"] == pytest.approx(first["median_seconds"] / 4)
    assert first["seconds_per_frame"] == pytest.approx(first["median_seconds"] / 64)
    assert first["p5_seconds"] <= first["median_seconds"] <= first["p95_seconds"]


def test_frames_are_those_of_the_cells_that_have_them(run_folder: Path) -> None:
    frames = pd.read_csv(run_folder / "frames.csv")
    assert len(frames) == 8 * 64
    assert {"clip", "frame", "gazes", "psnr"} <= set(frames.columns)


def test_every_counter_and_every_plain_detail_is_a_column(tmp_path: Path) -> None:
    write_csv_files(results_from(kernel_records()), tmp_path)
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert cells["details.ceiling.bytes_per_second"][1] == 3e12
    assert cells["details.shape"][1] == "tokens=212 frames=16 heads=6"
    assert cells["calls"][1] == 4
    write_csv_files(results_from(attention_records()), tmp_path)
    attention = pd.read_csv(tmp_path / "cells.csv")
    assert attention["details.error.max"][1] == 8.3e-7
    assert attention["tokens"].count() == len(attention), "the axis, which a refused cell has too"
    assert attention["counted_tokens"].count() == 12
