from collections.abc import Sequence

from reports.document import Table
from reports.results import CellResult
from reports.summaries import Group, groups
from reports.tables import (
    outside_table,
    published_table,
    quality_table,
    stage_table,
    summary_table,
    work_table,
)
from tests.reports.fake_suites import (
    attention_records,
    encode_records,
    engine_records,
    kernel_records,
    results_from,
)


def whole(results: Sequence[CellResult]) -> Group:
    """Return the only group of results of one kind."""
    (group,) = groups(results)
    return group


def keys(table: Table) -> list[str]:
    return [column.key for column in table.columns]


def row(table: Table, number: int) -> dict[str, str]:
    return dict(zip(keys(table), table.formatted()[number]))


def test_every_cell_is_a_row_of_every_table_whatever_became_of_it(results: list[CellResult]) -> None:
    for table in (
        summary_table(whole(results)),
        outside_table(results),
        work_table(whole(results)),
        quality_table(whole(results)),
    ):
        assert [values[-1] for values in table.rows] == [
            result.status.replace("_", " ") for result in results
        ]
    stages = stage_table(whole(results))
    named = {values[:2] for values in stages.rows}
    assert named == {(result.axis("setting"), result.axis("chunk")) for result in results}


def test_axes_that_do_not_vary_are_no_columns(results: list[CellResult]) -> None:
    assert keys(summary_table(whole(results)))[:2] == ["setting", "chunk"]
    assert "device" not in keys(summary_table(whole(results)))


def test_several_runs_have_a_device_column(results: list[CellResult], gpu_results: list[CellResult]) -> None:
    assert keys(summary_table(whole([*results, *gpu_results])))[0] == "device"


def test_a_single_cell_still_has_a_name(results: list[CellResult]) -> None:
    assert keys(summary_table(whole(results[:1])))[0] == "workload"


def test_summary_holds_times_in_ms_per_frame(results: list[CellResult]) -> None:
    table = summary_table(whole(results))
    seconds = results[1].median("end_to_end")
    assert seconds is not None
    column = table.columns[keys(table).index("whole")]
    assert column.unit == "ms/frame"
    assert table.rows[1][keys(table).index("whole")] == seconds / 64
    assert row(table, 1)["gazes"] == "1056"
    assert row(table, 1)["kept"] == "24.9"


def test_columns_that_nothing_was_measured_for_are_left_out(
    results: list[CellResult], gpu_results: list[CellResult]
) -> None:
    assert "energy" not in keys(summary_table(whole(results)))
    assert row(summary_table(whole(gpu_results)), 0)["energy"] == "9.55"
    assert "on_device" not in keys(stage_table(whole(results)))
    assert "on_device" in keys(stage_table(whole(gpu_results)))


def test_stage_table_gives_nested_stages_their_share_of_the_parent(results: list[CellResult]) -> None:
    table = stage_table(whole(results))
    rows = [row(table, number) for number in range(8)]
    shares = {values["stage"]: values["share"] for values in rows}
    assert shares["gaze"] == "–"
    assert 97 < sum(float(shares[f"gaze.{part}"]) for part in ("vision", "prefill", "steps")) < 100.1
    assert {values["samples"] for values in rows} == {"5"}


def test_work_table_counts_by_clip(results: list[CellResult]) -> None:
    found = row(work_table(whole(results)), 0)
    assert found["candidates"] == "4240"
    assert found["selected"] == "416"
    assert found["steps"] == "48"
    assert float(found["step_time"]) > 0


def test_published_figures_stand_beside_ours_where_setting_and_chunk_match(results: list[CellResult]) -> None:
    table = published_table(results)
    assert row(table, 0)["their_gaze"] == "29.3"
    assert row(table, 0)["source"] == "H100"
    sources = [values["source"] for values in (row(table, i) for i in range(len(table.rows)))]
    assert "RTX 3090, Bench2Drive front camera, requirement 0.7" in sources


def test_published_quality_is_not_set_beside_that_of_untrained_weights(
    results: list[CellResult], gpu_results: list[CellResult]
) -> None:
    assert not {"psnr", "their_psnr", "their_lpips"} & set(keys(published_table(results)))
    assert row(published_table(gpu_results), 0)["their_psnr"] == "25.06"


def test_work_of_parts_is_counted_by_call_and_has_no_clips_frames_or_patches() -> None:
    kernels, attention = groups(results_from(kernel_records()))[0], whole(results_from(attention_records()))
    assert keys(work_table(kernels))[3:] == ["calls", "flops", "bytes", "status"]
    assert keys(work_table(attention))[4:] == ["tokens", "padded_tokens", "flops", "bytes", "status"]
    assert row(work_table(kernels), 0)["flops"] == "1.00", "GFLOP of one call out of four"


def test_a_part_s_only_stage_is_told_once_and_by_call() -> None:
    table = stage_table(groups(results_from(kernel_records()))[0])
    assert {values[3] for values in table.rows} == {"end_to_end"}
    assert next(column.unit for column in table.columns if column.key == "median") == "ms/call"
    assert "frame_median" not in keys(table)


def test_axes_that_most_cells_share_are_one_column() -> None:
    table = summary_table(whole(results_from(attention_records())))
    assert keys(table)[:4] == ["backend", "mask", "tokens", "unusual"]
    unusual = [row(table, number)["unusual"] for number in (0, 12, 15)]
    assert unusual == ["", "batch 4; padding 0.9", "bfloat16"]


def test_the_encoder_is_not_set_beside_what_was_published_of_the_gaze_model() -> None:
    gaze = results_from(engine_records())
    assert published_table(gaze).rows
    assert published_table(results_from(encode_records())).rows == ()
