"""The plots of the published evaluation: what is drawn, and what is said where there is nothing to draw."""

import pytest

from reports.charts import MissingDataError
from reports.evaluation_plots import gaze_heat_map, per_frame_curves, tradeoff_curves
from reports.style import styled
from tests.reports.fake_evaluation import evaluation_records, published_rows
from tests.reports.fake_run import UNTRAINED
from tests.reports.test_evaluation import results_from

SETTINGS = [row["setting"] for row in published_rows("metrics_by_clip_setting.csv")[:7]]


def test_gazes_are_means_over_clips_a_row_a_setting() -> None:
    with styled():
        axes = gaze_heat_map(results_from(evaluation_records())).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == SETTINGS
    first = [
        row["non_padded_gazes"]
        for row in published_rows("metrics_by_frame.csv")
        if row["setting"] == "task_0.70" and row["frame_idx"] == 0
    ]
    assert axes.images[0].get_array()[SETTINGS.index("task_0.70"), 0] == pytest.approx(sum(first) / 4)


def test_quality_is_drawn_along_the_frames_of_a_clip() -> None:
    with styled():
        figure = per_frame_curves(results_from(evaluation_records()))
        lines = figure.axes[0].get_lines()
    assert [line.get_label() for line in lines] == SETTINGS
    assert all(len(line.get_xdata()) == 16 for line in lines)


def test_more_patches_are_drawn_along_one_line_a_kind_of_setting() -> None:
    with styled():
        figure = tradeoff_curves(results_from(evaluation_records()))
        lines = {line.get_label(): line.get_xdata() for line in figure.axes[0].get_lines()}
    assert {name: len(x) for name, x in lines.items()} == {"budget": 5, "loss requirement": 2}
    assert list(lines["budget"]) == sorted(lines["budget"])


def test_a_warm_up_is_no_part_of_the_times() -> None:
    with styled():
        figure = tradeoff_curves(results_from(evaluation_records()))
        (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "Gaze time"]
        highest = max(y for line in panel.get_lines() for y in line.get_ydata())
    assert highest < 99


@pytest.mark.parametrize("draw", [gaze_heat_map, per_frame_curves, tradeoff_curves])
def test_titles_say_that_figures_mean_nothing(draw) -> None:
    with styled():
        figure = draw(results_from(evaluation_records(notes=(UNTRAINED,))))
        titles = [figure.get_suptitle(), figure.axes[0].get_title(loc="left")]
    assert any("meaningless" in title for title in titles)


@pytest.mark.parametrize("draw", [gaze_heat_map, per_frame_curves, tradeoff_curves])
def test_without_any_clip_there_is_nothing_to_draw(draw) -> None:
    clips = {row["clip_name"] for row in published_rows("metrics_by_clip_setting.csv")}
    with pytest.raises(MissingDataError, match="no clip was evaluated"):
        draw(results_from(evaluation_records(damaged=clips)))
