from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench.records import Record, Sample, Status
from reports.document import Image as Picture
from reports.document import Paragraph
from reports.plots import (
    PLOTS,
    gaze_heat_map,
    latency_against_chunk_size,
    latency_by_stage,
    quality_against_kept_patches,
    quality_by_frame,
    stage_parts,
    write_plots,
)
from reports.results import CellResult
from reports.style import styled
from reports.summaries import VIDEO
from tests.reports.fake_suites import (
    attention_records,
    encode_records,
    engine_records,
    kernel_records,
    results_from,
)

OF_VIDEO = [plot for plot in PLOTS if VIDEO in plot.views]


def test_every_plot_is_drawn_from_a_whole_run(run_folder: Path) -> None:
    names = {f"{plot.name}.png" for plot in OF_VIDEO}
    assert {path.name for path in (run_folder / "plots").iterdir()} == names
    for name in names:
        with Image.open(run_folder / "plots" / name) as image:
            assert min(image.size) > 300
            assert len(image.convert("L").getcolors() or []) > 10, "not a blank page"


def test_a_plot_without_data_is_skipped_with_the_reason_and_leaves_no_stale_file(
    results: list[CellResult], tmp_path: Path
) -> None:
    stale = tmp_path / "plots" / "latency_against_chunk_size.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier report")
    written, blocks = write_plots(results[:1], tmp_path)
    assert stale not in written
    assert not stale.exists()
    skipped = [block.text for block in blocks if isinstance(block, Paragraph)]
    reason = "no setting was measured with more than one chunk size"
    constant = "every cell chose as many patches in one frame as in any other"
    assert skipped == [
        f"Latency against chunk size: not drawn, because {reason}.",
        f"Gazes by frame: not drawn, because {constant}.",
    ]
    assert sum(isinstance(block, Picture) for block in blocks) == len(written) == 3


def test_a_run_in_which_nothing_succeeded_has_no_plots(results: list[CellResult], tmp_path: Path) -> None:
    failed = [result for result in results if result.status == Status.OUT_OF_MEMORY]
    written, blocks = write_plots(failed, tmp_path)
    assert written == []
    assert all(isinstance(block, Paragraph) for block in blocks)
    assert len(blocks) == len(OF_VIDEO)


def test_the_parts_of_a_bar_add_up_to_the_whole(results: list[CellResult]) -> None:
    for result in results:
        if result.ok:
            whole = result.per("clip", result.median("end_to_end"))
            assert sum(stage_parts(result).values()) == pytest.approx(1e3 * (whole or 0.0))
    assert {"gaze.vision", "gaze.prefill", "gaze.steps", "reconstruct"} <= stage_parts(results[0]).keys()


def test_a_bar_ends_at_the_end_to_end_median_and_drops_no_stage(results: list[CellResult]) -> None:
    (first, *_) = results
    # Where now one stage takes longer, now another, the sum of medians is not the median of sums.
    times = ((3.0, 1.0, 0.001), (1.0, 3.0, 0.001), (1.0, 1.0, 0.001), (3.0, 1.0, 0.001), (1.0, 3.0, 0.001))
    samples = []
    for index, (gaze, reconstruct, preprocess) in enumerate(times):
        named = {"gaze": gaze, "reconstruct": reconstruct, "preprocess": preprocess, "hand_over": 0.5}
        named["end_to_end"] = sum(named.values())
        samples += [Sample(index=index, stage=stage, seconds=seconds) for stage, seconds in named.items()]
    assert first.record is not None
    result = replace(
        first, record=first.record.model_copy(update={"samples": tuple(samples), "counters": {"clips": 2}})
    )
    parts = stage_parts(result)
    assert sum(parts.values()) == pytest.approx(1e3 * 4.501 / 2)
    assert list(parts) == ["preprocess", "gaze", "reconstruct", "hand_over"]
    with styled():
        axes = latency_by_stage([result]).axes[0]
    assert "2250" in {text.get_text() for text in axes.texts}


def test_a_row_of_equal_gazes_says_its_number_once(gpu_results: list[CellResult]) -> None:
    with styled():
        texts = [text.get_text() for text in gaze_heat_map(gpu_results).axes[0].texts]
    assert texts.count("26 in every frame") == 1
    assert "26" not in texts
    assert sum(text.isdigit() for text in texts) == 2 * 16, "two settings have a requirement"


def test_published_quality_is_drawn_only_beside_trained_weights(
    results: list[CellResult], gpu_results: list[CellResult]
) -> None:
    with styled():
        for measured, published in ((results[:6], False), (gpu_results, True)):
            figure = quality_against_kept_patches(measured)
            names = [text.get_text() for text in figure.legends[0].get_texts()]
            assert any("published elsewhere" in name for name in names) is published
            assert ("meaningless" in figure.get_suptitle()) is not published


def test_published_latency_is_marked_as_such(results: list[CellResult]) -> None:
    with styled():
        for draw in (latency_by_stage, latency_against_chunk_size):
            figure = draw([result for result in results if result.ok])
            names = [text.get_text() for text in figure.legends[0].get_texts()]
            assert sum(name.startswith("published elsewhere") for name in names) == 1


def test_heat_map_has_a_row_for_each_cell_that_chose_differently(gpu_results: list[CellResult]) -> None:
    with styled():
        axes = gaze_heat_map([*gpu_results, *gpu_results]).axes[0]
    assert len(axes.get_yticklabels()) == 7, "more than eight rows: those of the longest clips"


def test_curves_by_frame_cover_the_clip(gpu_results: list[CellResult]) -> None:
    with styled():
        figure = quality_by_frame(gpu_results)
    lines = figure.axes[0].get_lines()
    assert len(lines) == 7
    assert all(len(line.get_xdata()) == 16 for line in lines)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("records", "drawn", "missing"),
    [
        (kernel_records, ["roofline"], []),
        (
            engine_records,
            ["latency_by_stage"],
            ["Roofline", "Gazes by frame", "Agreement of engines and data types"],
        ),
        (encode_records, ["latency_by_stage"], []),
        (attention_records, [], []),
    ],
)
def test_a_report_has_only_the_plots_that_mean_something_for_its_cells(
    records: Callable[[], list[Record]], drawn: list[str], missing: list[str], tmp_path: Path
) -> None:
    written, blocks = write_plots(results_from(records()), tmp_path)
    assert [path.stem for path in written] == drawn
    said = [block.text for block in blocks if isinstance(block, Paragraph)]
    assert [text.partition(": not drawn, because ")[0] for text in said] == missing


def test_a_cell_without_clips_has_no_bar() -> None:
    (result, *_) = results_from(kernel_records())
    assert stage_parts(result) == {}
