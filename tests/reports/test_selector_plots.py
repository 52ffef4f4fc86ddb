"""The plots of selectors: readable however much clips differ."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.charts import MissingDataError
from reports.plots import write_plots
from reports.results import CellResult
from reports.selector_plots import agreement, overlap_by_selector, quality_by_selector, stopping_rule
from reports.selectors import compare
from reports.style import styled
from tests.reports.fake_selectors import BUDGETS, CLIPS, FEWER, quality_cell, quality_record, quality_records
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


def test_quality_has_a_line_for_each_selector_in_panels_of_the_same_clips(results: list[CellResult]) -> None:
    figure = quality_by_selector(results)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == [
        f"{name}, {source}, {clips} clips"
        for source in ("video", "synthetic:held_out")
        for clips in (CLIPS, FEWER)
        for name in ("Loss", "PSNR", "SSIM")
    ]
    all_clips, fewer = (
        {str(line.get_label()): list(line.get_xdata()) for line in figure.axes[place].get_lines()}
        for place in (0, 3)
    )
    sequential = "gaze, sequential positions"
    assert list(all_clips) == ["gaze", sequential, "laplacian", "random"]
    assert list(fewer) == ["gaze", sequential, "greedy", "laplacian", "random"]
    for kept in (all_clips, fewer):
        assert kept.pop(sequential) == [10]
        assert all(budgets == [100 * budget for budget in BUDGETS] for budgets in kept.values())


def half_widths(axes: Any, x: float) -> list[float]:
    """Return half the height of each band at x, as far as a band reaches there."""
    corners = [band.get_paths()[0].vertices for band in axes.collections if band.get_paths()]
    return [
        np.ptp(each[np.isclose(each[:, 0], x), 1]) / 2 for each in corners if np.isclose(each[:, 0], x).any()
    ]


def test_bands_leave_out_how_hard_clips_are(results: list[CellResult]) -> None:
    widths = half_widths(quality_by_selector(results).axes[0], 10)
    assert len(widths) == 4
    assert max(widths) < 0.01, "clips differ by 0.5"


def test_a_band_of_two_selectors_is_the_interval_of_their_difference_over_root_two() -> None:
    settings = ("ratio_0.10", "ratio_0.25")
    records = [
        quality_record(quality_cell(selector, setting), 0.5, kept)
        for selector in ("gaze", "random")
        for setting, kept in zip(settings, (0.1, 0.25))
    ]
    pair = results_from(records)
    comparison = compare(pair[0], pair[2])
    assert comparison
    expected = (comparison.difference.high - comparison.difference.estimate) / math.sqrt(2)
    assert half_widths(quality_by_selector(pair).axes[0], 10) == pytest.approx([expected] * 2)


def test_a_selector_alone_has_a_line_without_a_band() -> None:
    alone = results_from(
        [quality_record(quality_cell(setting=f"ratio_{kept:.2f}"), 0.5, kept) for kept in (0.1, 0.25)]
    )
    axes = quality_by_selector(alone).axes[0]
    assert len(axes.get_lines()) == 1
    assert half_widths(axes, 10) == []


def test_a_selector_of_fewer_and_easier_clips_is_compared_on_these(results: list[CellResult]) -> None:
    loss, psnr = (
        {line.get_label(): line.get_ydata() for line in axes.get_lines()}
        for axes in quality_by_selector(results).axes[3:5]
    )
    assert loss["gaze"] - loss["greedy"] == pytest.approx([0.02] * 3, abs=0.002)
    assert psnr["greedy"] - psnr["gaze"] == pytest.approx([0.2] * 3), "it is that much in every clip"


def test_no_line_goes_through_means_over_different_clips() -> None:
    plan = [("ratio_0.05", 0.05, CLIPS), ("ratio_0.10", 0.1, FEWER), ("ratio_0.25", 0.25, CLIPS)]
    mixed = results_from(
        [
            quality_record(quality_cell(setting=setting, clips=clips), 0.5, kept)
            for setting, kept, clips in plan
        ]
    )
    whole, common = (quality_by_selector(mixed).axes[place].get_lines()[0] for place in (0, 3))
    assert list(whole.get_xdata()) == [5, 25]
    assert list(common.get_xdata()) == [5, 10, 25]
    assert whole.get_ydata() == pytest.approx([0.5 + 0.1 * np.mean(range(CLIPS))] * 2, abs=0.003)
    assert common.get_ydata() == pytest.approx([0.5 + 0.1 * np.mean(range(FEWER))] * 3, abs=0.003)
    assert [axes.get_title(loc="left") for axes in overlap_by_selector(mixed).axes] == [
        "video, 6 clips",
        "video, 4 clips",
    ]


def test_a_cell_measured_on_all_clips_and_on_fewer_is_one_point() -> None:
    twice = results_from(
        [
            quality_record(quality_cell(selector, clips=clips), 0.5, 0.1)
            for selector in ("gaze", "random")
            for clips in (CLIPS, FEWER)
        ]
    )
    assert [len(line.get_xdata()) for line in quality_by_selector(twice).axes[3].get_lines()] == [1, 1]


def test_data_types_have_panels_of_their_own() -> None:
    single, half = (
        [quality_record(quality_cell(setting=setting, dtype=dtype), 0.5, 0.1) for setting in SETTINGS]
        for dtype in ("float32", "bfloat16")
    )
    both = results_from([*single, *half])
    titles = [axes.get_title(loc="left") for axes in quality_by_selector(both).axes if axes.get_visible()]
    assert titles[::3] == ["Loss, video, float32, 6 clips", "Loss, video, bfloat16, 6 clips"]
    assert [line.get_label() for line in stopping_rule(both).axes[0].get_lines()][:2] == [
        "video, float32, 6 clips",
        "video, bfloat16, 6 clips",
    ]


def test_the_stopping_rule_is_drawn_beside_the_diagonal(results: list[CellResult]) -> None:
    (axes,) = stopping_rule(results).axes
    points, diagonal = axes.get_lines()
    assert list(points.get_xdata()) == [0.3, 0.4, 0.6, 0.8]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())


@pytest.mark.filterwarnings("error")
def test_the_stopping_rule_over_one_clip_has_points_without_bars(tmp_path: Path) -> None:
    cells = [quality_cell(setting=f"task_{asked:.2f}", clips=1) for asked in (0.3, 0.6)]
    figure = stopping_rule(results_from([quality_record(cell, 0.4, 0.1) for cell in cells]))
    figure.savefig(tmp_path / "one_clip.png")
    (axes,) = figure.axes
    assert axes.get_lines()[0].get_label() == "video, 1 clip"
    assert not any(np.isfinite(path.vertices).all() for bars in axes.collections for path in bars.get_paths())


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
