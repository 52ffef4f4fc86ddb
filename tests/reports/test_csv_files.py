from pathlib import Path

import pandas as pd
import pytest

from reports.results import CellResult


def test_every_cell_is_in_the_cell_and_stage_files(run_folder: Path) -> None:
    cells, stages = pd.read_csv(run_folder / "cells.csv"), pd.read_csv(run_folder / "stages.csv")
    assert len(cells) == 10
    assert cells["status"].tolist().count("ok") == 7
    assert cells["reason"].count() == 3
    assert len(stages.groupby(["setting", "chunk"])) == 10


def test_values_are_unrounded_and_in_si_units(run_folder: Path, results: list[CellResult]) -> None:
    cells = pd.read_csv(run_folder / "cells.csv")
    assert cells["end_to_end_seconds"][0] == results[0].median("end_to_end")
    assert cells["resident_peak_bytes"][0] == 712 * 2**20
    assert cells["setting"][0] == "ratio_0.10"


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
