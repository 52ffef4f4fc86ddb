from collections.abc import Sequence

import pytest

from bench.records import Cell, Record, Sample, Status
from reports.results import CellResult
from reports.summaries import ENGINES, OTHER, VIDEO, Group, groups, remarks
from reports.tables import summary_table
from tests.reports.fake_suites import (
    attention_records,
    ceiling_records,
    encode_records,
    engine_cell,
    engine_record,
    engine_records,
    kernel_records,
    kernel_records_on_cpu,
    paired_record,
    record,
    results_from,
)


def rows(group: Group) -> dict[str, dict[str, str]]:
    """Return the formatted summary of a group by the words that name its rows."""
    table = summary_table(group)
    keys = [column.key for column in table.columns]
    named = [dict(zip(keys, values)) for values in table.formatted()]
    words = [column.key for column in table.columns if column.key not in MEASURED]
    return {" ".join(row[word] for word in words if row[word]): row for row in named}


MEASURED = {
    *("kept", "clip", "frame", "step", "steps", "launches", "synchronisations", "speed_up", "patches"),
    *("copy", "matmul"),
    *("call", "bandwidth", "compute", "of_copy", "of_matmul", "relative_error", "error", "shape"),
    *("memory", "energy", "status", "over_ours", "over_ours_interval", "agreement"),
}


def only(records: Sequence[Record]) -> Group:
    (group,) = groups(results_from(records))
    return group


def test_ceilings_are_rates_in_each_precision() -> None:
    found = rows(only(ceiling_records()))
    assert found["float32"] | {"status": ""} == {
        "dtype": "float32",
        "copy": "3000",
        "matmul": "400",
        "status": "",
    }
    assert found["bfloat16"]["matmul"] == "800"


def test_the_share_of_patches_that_the_definition_chooses_too_is_shown_where_it_was_taken() -> None:
    shares = {("eager", "bfloat16"): 0.4375, ("triton", "float32"): 1.0, ("triton", "bfloat16"): 0.5}
    cells = [engine_cell("ratio_0.75", *way) for way in (("eager", "float32"), *shares)]
    quality = [{}, *({"agreement": share} for share in shares.values())]
    records = [
        engine_record(cell).model_copy(update={"quality": figures})
        for cell, figures in zip(cells, quality, strict=True)
    ]
    found = {name: row["agreement"] for name, row in rows(only(records)).items()}
    assert found == {
        "float32 eager": "–",
        "bfloat16 eager": "43.8",
        "float32 triton": "100.0",
        "bfloat16 triton": "50.0",
    }


def test_kernels_have_a_group_for_each_operation() -> None:
    found = groups(results_from(kernel_records()))
    assert [group.title for group in found] == ["block_causal_attention", "decode_step"]
    assert sum(len(group.results) for group in found) == len(kernel_records())


def test_a_kernel_s_row_holds_time_of_a_call_rates_shares_of_ceilings_and_speed_up() -> None:
    attention = rows(groups(results_from(kernel_records()))[0])
    row = attention["triton 1 float32"]
    moved = 8e8
    assert float(row["call"]) == pytest.approx(1e6 * moved / 3e12 / 0.7, rel=0.03), "µs"
    assert float(row["bandwidth"]) == pytest.approx(2100, rel=0.03), "GB/s"
    assert float(row["compute"]) == pytest.approx(5.25, rel=0.03), "TFLOP/s"
    assert float(row["of_copy"]) == pytest.approx(70, rel=0.03)
    assert float(row["of_matmul"]) == pytest.approx(100 * 5.25 / 400, rel=0.05)
    assert float(row["speed_up"]) == pytest.approx(10, rel=0.04)
    assert row["error"] == "3.2e-07"
    assert attention["reference 1 float32"]["speed_up"] == "1.00"


def test_a_shape_names_the_sizes_that_vary_and_a_remark_the_others() -> None:
    attention, step = groups(results_from(kernel_records_on_cpu()))
    assert rows(attention)["triton 2 bfloat16"]["shape"] == "tokens 5300", "known from the reference"
    assert remarks(attention) == ["in every shape: frames 16, heads 6"]
    assert remarks(step) == ["in every shape: cached 400, layers 4"]


def test_a_doubtful_cell_keeps_its_row_and_nothing_is_held_against_it() -> None:
    records = [
        each.model_copy(update={"status": Status.INVALID, "reason": "the work counted is wrong"})
        if each.cell.axes["form"] == "reference"
        else each
        for each in kernel_records()
    ]
    found = rows(groups(results_from(records))[0])
    assert found["reference 0 bfloat16"]["status"] == "invalid"
    assert "speed_up" not in found["triton 0 bfloat16"], "no cell has one"


def test_rates_are_in_giga_where_none_reaches_a_tera() -> None:
    slow = [
        each.model_copy(update={"counters": each.counters | {"flops": each.counters["flops"] / 1e3}})
        for each in kernel_records()
    ]
    for records, expected in ((kernel_records(), "TFLOP/s"), (slow, "GFLOP/s")):
        columns = summary_table(groups(results_from(records))[0]).columns
        assert [column.unit for column in columns if column.key == "compute"] == [expected]


def test_several_engines_make_gaze_cells_a_comparison_of_engines() -> None:
    assert only(engine_records()).view is ENGINES
    assert only([engine_record(engine_cell("ratio_0.10", "graph"))]).view is VIDEO


def test_an_engine_s_row_holds_time_of_a_step_launches_and_speed_up_over_eager() -> None:
    row = rows(only(engine_records()))["ratio_0.75 triton"]
    assert float(row["clip"]) == pytest.approx(35.6, rel=0.03)
    assert float(row["frame"]) == pytest.approx(35.6 / 16, rel=0.03)
    assert float(row["step"]) == pytest.approx(80, rel=0.03), "µs"
    assert (row["steps"], row["launches"], row["synchronisations"]) == ("320", "336", "0")
    assert float(row["speed_up"]) == pytest.approx(1290 / 35.6, rel=0.05)


def test_steps_and_launches_are_those_of_a_whole_batch() -> None:
    found = rows(only(engine_records()))
    assert found["ratio_0.25 graph batch 64"]["launches"] == found["ratio_0.25 graph"]["launches"] == "128"
    assert found["ratio_0.25 eager"]["launches"] == "–", "the eager engine counts none"


def test_patches_are_held_against_those_of_eager_in_single_precision() -> None:
    patches = {name: row["patches"] for name, row in rows(only(engine_records())).items()}
    assert patches["ratio_0.75 eager"] == "–", "it is the definition"
    assert patches["ratio_0.75 triton"] == "same"
    assert patches["ratio_0.75 eager bfloat16"] == patches["ratio_0.75 triton bfloat16"] == "differ"
    assert patches["ratio_0.10 triton bfloat16"] == "same"


def test_attention_is_held_against_eager_on_the_same_axes() -> None:
    found = rows(only(attention_records()))
    masked = found["sdpa block_causal 1024 batch 4; padding 0.9"]
    assert float(masked["speed_up"]) == pytest.approx(4, rel=0.04)
    assert (masked["error"], masked["memory"]) == ("8.3e-07", "300")
    assert float(found["sdpa block_causal 4240"]["call"]) == pytest.approx(17.1, rel=0.03), "ms"
    assert found["flash_attention_2 causal 1024"]["status"] == "unsupported"
    assert "kept" not in masked


def test_the_kernels_that_ran_and_the_usual_axes_are_remarks() -> None:
    assert remarks(only(attention_records())) == [
        "unless a row says otherwise: batch 1, dtype float32, padding 0.0",
        "eager ran aten::bmm, aten::_softmax",
        "sdpa ran flash_fwd_kernel",
    ]


def test_where_a_backend_ran_several_kernels_the_remark_says_for_which_cells() -> None:
    records = [
        each.model_copy(update={"details": {"attention.kernels": ["cudnn_sdpa"]}})
        if (each.cell.axes["backend"], each.cell.axes["dtype"]) == ("sdpa", "bfloat16")
        else each
        for each in attention_records()
    ]
    said = remarks(only(records))
    assert "sdpa ran cudnn_sdpa (sdpa, block_causal, tokens 1024, bfloat16)" in said
    assert any(remark.startswith("sdpa ran flash_fwd_kernel (5 of 18 cells: sdpa") for remark in said)


def test_an_automatic_engine_is_named() -> None:
    auto = engine_record(engine_cell("ratio_0.10", "eager"))
    auto = auto.model_copy(
        update={"cell": engine_cell("ratio_0.10", "auto"), "details": {"gaze.engine": "triton"}}
    )
    assert remarks(only([auto])) == ["auto ran triton"]


def test_encoding_is_held_against_the_dense_cell_of_the_same_axes() -> None:
    found = rows(only(encode_records()))
    assert float(found["ratio_0.05"]["speed_up"]) == pytest.approx(17, rel=0.04)
    assert found["ratio_0.05 causal"]["speed_up"] == "–", "there is no dense cell with this mask"
    assert found["ratio_0.05"]["kept"] == "5.0"
    assert float(found["dense"]["clip"]) == pytest.approx(16 * float(found["dense"]["frame"]), rel=0.01)


def test_a_workload_of_a_suite_s_own_still_has_its_time() -> None:
    own = Cell(workload="mine", axes={"depth": 3})
    results: list[CellResult] = results_from([record(own, 0.25)])
    (group,) = groups(results)
    assert group.view is OTHER
    assert float(rows(group)["mine"]["call"]) == pytest.approx(250, rel=0.03)


def test_results_keep_their_order_inside_a_group_and_views_stay_together() -> None:
    attention, kernels = results_from(attention_records()), results_from(kernel_records())
    mixed = [result for pair in zip(attention, kernels) for result in pair]
    found = groups(mixed)
    assert [group.title for group in found] == ["Attention", "block_causal_attention", "decode_step"]
    assert list(found[0].results) == attention


def test_samples_are_summed_up_by_their_median() -> None:
    own = Cell(workload="mine", axes={})
    samples = [Sample(index=i, stage="end_to_end", seconds=time) for i, time in enumerate((1.0, 2.0, 9.0))]
    (group,) = groups(results_from([Record(cell=own, status=Status.OK, samples=tuple(samples))]))
    assert rows(group)["mine"]["call"] == "2000"


def test_a_peer_is_held_against_ours_pair_by_pair_and_patch_by_patch() -> None:
    found = rows(only([*engine_records(), paired_record()]))
    row = found["ratio_0.75 released"]
    assert (row["over_ours"], row["over_ours_interval"], row["agreement"]) == ("3.00", "3.00 to 3.00", "75.0")
    assert found["ratio_0.75 triton"]["over_ours"] == "–"


def test_the_way_to_a_peer_s_process_is_no_part_of_its_time() -> None:
    row = rows(only([*engine_records(), paired_record()]))["ratio_0.75 released"]
    assert (row["clip"], row["frame"]) == ("6000", "375")
    assert float(row["speed_up"]) == pytest.approx(1.29 / 6, rel=0.03)


def test_what_the_peer_was_and_what_it_was_held_against_is_said() -> None:
    said = remarks(only([*engine_records(), paired_record()]))
    assert (
        "released is the package at commit 2943b28, with torch 2.7.1, transformers 4.51.3 and "
        "attn_mode=sdpa; ours beside it is engine triton"
    ) in said


def test_without_a_peer_no_column_speaks_of_one() -> None:
    columns = {column.key for column in summary_table(only(engine_records())).columns}
    assert not columns & {"over_ours", "over_ours_interval"}
