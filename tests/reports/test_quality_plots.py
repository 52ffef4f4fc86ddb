"""The plots of selectors: readable however much clips differ."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reports.charts import MissingDataError
from reports.plots import write_plots
from reports.quality_plots import agreement, overlap_by_selector, quality_by_selector, stopping_rule
from reports.results import CellResult
from reports.style import styled
from tests.reports.fake_quality import BUDGETS, quality_cell, quality_record, quality_records
from tests.reports.fake_suites import engine_records, results_from

SETTINGS = ("ratio_0.10", "task_0.50")


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with styled():
        yield


@pytest.fixture(scope="module")
def results() -> list[CellResult]:
    return [result for result in results_from(quality_records()) if result.ok]


@pytest.mark.filterwarnings("error")
def test_all_plots_of_a_quality_run_are_drawn(results: list[CellResult], tmp_path: Path) -> None:
    written, blocks = write_plots(results, tmp_path)
    assert [path.stem for path in written] == ["quality_by_selector", "stopping_rule", "overlap_by_selector"]
    assert len(blocks) == 3


def test_quality_has_a_line_for_each_selector_in_a_panel_for_each_source(results: list[CellResult]) -> None:
    figure = quality_by_selector(results)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == [
        f"{name}, {source}" for source in ("video", "synthetic:held_out") for name in ("Loss", "PSNR", "SSIM")
    ]
    lines = figure.axes[0].get_lines()
    sequential = "gaze, sequential positions"
    assert [line.get_label() for line in lines] == ["gaze", sequential, "greedy", "laplacian", "random"]
    kept = {line.get_label(): list(line.get_xdata()) for line in lines}
    assert kept.pop(sequential) == [10]
    assert all(budgets == [100 * budget for budget in BUDGETS] for budgets in kept.values())


def test_bands_are_those_of_differences_and_not_of_clips(results: list[CellResult]) -> None:
    axes = quality_by_selector(results).axes[0]
    for band in axes.collections:
        heights = band.get_paths()[0].vertices[:, 1]
        assert np.ptp(heights[np.abs(band.get_paths()[0].vertices[:, 0] - 10) < 1e-6]) < 0.02, (
            "clips differ by 0.5"
        )


def test_a_selector_of_fewer_and_easier_clips_is_not_drawn_as_better(results: list[CellResult]) -> None:
    loss, psnr = (
        {line.get_label(): line.get_ydata() for line in axes.get_lines()}
        for axes in quality_by_selector(results).axes[:2]
    )
    assert loss["gaze"] - loss["greedy"] == pytest.approx([0.02] * 3, abs=0.002)
    assert psnr["greedy"] - psnr["gaze"] == pytest.approx([0.2] * 3), "it is that much in every clip"


def test_data_types_have_panels_of_their_own() -> None:
    single, half = (
        [quality_record(quality_cell(setting=setting, dtype=dtype), 0.5, 0.1) for setting in SETTINGS]
        for dtype in ("float32", "bfloat16")
    )
    both = results_from([*single, *half])
    titles = [axes.get_title(loc="left") for axes in quality_by_selector(both).axes if axes.get_visible()]
    assert titles[::3] == ["Loss, video, float32", "Loss, video, bfloat16"]
    assert [line.get_label() for line in stopping_rule(both).axes[0].get_lines()][:2] == [
        "video, float32",
        "video, bfloat16",
    ]


def test_the_stopping_rule_is_drawn_beside_the_diagonal(results: list[CellResult]) -> None:
    (axes,) = stopping_rule(results).axes
    points, diagonal = axes.get_lines()
    assert list(points.get_xdata()) == [0.3, 0.4, 0.6, 0.8]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())


def test_overlap_is_drawn_in_percent(results: list[CellResult]) -> None:
    line = overlap_by_selector(results).axes[0].get_lines()[0]
    assert list(line.get_ydata()) == pytest.approx([25, 30, 45])


def test_a_plot_without_its_cells_says_which_are_missing(results: list[CellResult]) -> None:
    budgets = [result for result in results if str(result.axis("setting")).startswith("ratio")]
    sweep = [result for result in results if result not in budgets]
    with pytest.raises(MissingDataError, match="no cell has a loss requirement alone"):
        stopping_rule(budgets)
    for draw in (quality_by_selector, overlap_by_selector):
        with pytest.raises(MissingDataError, match="no cell has a budget and nothing else"):
            draw(sweep)


def test_agreement_has_a_bar_for_each_cell_that_was_held_against_the_definition() -> None:
    records = engine_records()
    judged = [
        record.model_copy(update={"quality": {**record.quality, "agreement": 0.97}}) if place else record
        for place, record in enumerate(records)
    ]
    ok = [result for result in results_from(judged) if result.ok]
    (axes,) = agreement(ok).axes
    assert len(axes.get_yticklabels()) == len(ok) - 1
    assert {bar.get_width() for bar in axes.patches} == {97.0}
    with pytest.raises(MissingDataError, match="no cell was held against the definition"):
        agreement(results_from(records))
