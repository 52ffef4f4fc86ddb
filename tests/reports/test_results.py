from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.records import Memory, Record, Sample, Status
from reports.results import CellResult, distinct_stages, load_results, peer, results_of, run_labels
from tests.reports.fake_run import FRAMES, cell, ok_record, run_of
from tests.reports.fake_suites import attention_records, kernel_records, results_from


def result_of(*samples: Sample, **fields: object) -> CellResult:
    record = Record(cell=cell("ratio_0.25", 16), status=Status.OK, samples=samples, **fields)  # type: ignore[arg-type]
    return CellResult(run_of([record.cell]), "device", record.cell, record)


def test_every_planned_cell_is_a_result_also_where_the_journal_ends_early(results: list[CellResult]) -> None:
    assert len(results) == 10
    assert [result.status for result in results].count("ok") == 7
    assert results[-1].status == "not run"
    assert results[-1].reason == "the run ended before this cell"


def test_a_recorded_cell_outside_the_plan_is_a_result_too() -> None:
    extra = ok_record(cell("task_0.70", 16))
    found = results_of(run_of([cell("ratio_0.25", 16)]), [extra], "device")
    assert [result.status for result in found] == ["not run", "ok"]


def test_warm_up_samples_are_kept_out_of_the_times() -> None:
    result = result_of(
        Sample(index=0, stage="gaze", seconds=9.0, warmup=True),
        *(Sample(index=i, stage="gaze", seconds=float(i)) for i in (1, 2, 3)),
    )
    assert result.stages["gaze"].count == 3
    assert result.median("gaze") == 2.0
    assert result.first_warmup("gaze") == 9.0


def test_times_are_shared_out_among_clips_and_frames(results: list[CellResult]) -> None:
    whole = results[0].median("end_to_end")
    assert whole is not None
    assert results[0].per("frame", whole) == pytest.approx(whole / FRAMES)
    assert results[0].per("clip", whole) == pytest.approx(whole * 16 / FRAMES)
    assert results[6].per("clip", None) is None


def test_a_nested_stage_is_timed_by_device_events_and_a_top_level_one_by_the_wall_clock() -> None:
    result = result_of(
        Sample(index=0, stage="gaze", seconds=2.0, device_seconds=1.6),
        Sample(index=0, stage="gaze.steps", seconds=0.1, device_seconds=0.8),
    )
    assert result.median("gaze") == 2.0
    assert result.median("gaze.steps") == 0.8
    assert result.share("gaze.steps") == pytest.approx(0.5), "both by the same clock"


def test_stages_come_in_the_order_of_the_pipeline_with_children_under_their_parent(
    results: list[CellResult],
) -> None:
    assert list(results[0].stages) == [
        "decode",
        "preprocess",
        "gaze",
        "gaze.vision",
        "gaze.prefill",
        "gaze.steps",
        "reconstruct",
        "end_to_end",
    ]


def test_peak_memory_is_the_device_s_where_it_has_one() -> None:
    assert result_of(memory=Memory(resident_peak=5, device_allocated_peak=3)).peak_memory == 3
    assert result_of(memory=Memory(resident_peak=5)).peak_memory == 5


def test_kept_ratio_falls_back_to_the_counters() -> None:
    assert result_of(counters={"selected_patches": 66, "candidate_patches": 265}).kept_ratio == 66 / 265
    assert result_of().kept_ratio is None


def test_runs_on_one_device_are_told_apart_by_their_id() -> None:
    first, second, other = (
        run_of([], run_id="a"),
        run_of([], run_id="b"),
        run_of([], device="H100", run_id="c"),
    )
    assert run_labels([first, other]) == {"a": "AMD EPYC 9B45", "c": "H100"}
    assert run_labels([first, second])["b"] == "AMD EPYC 9B45 (b)"


def test_like_cells_of_several_runs_stand_together(run_folder: Path, gpu_run_folder: Path) -> None:
    found = load_results([run_folder, gpu_run_folder])
    assert len(found) == 20
    assert all(a.cell.key == b.cell.key for a, b in zip(found[::2], found[1::2]))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run"):
        load_results([tmp_path])


def test_a_call_is_what_was_counted_as_one_else_a_batch_of_clips() -> None:
    assert result_of(counters={"calls": 4}).per("call", 2.0) == 0.5
    assert result_of(counters={"clips": 3}).per("call", 6.0) == 2.0, "the cell has batch 1"
    assert result_of().per("call", 6.0) == 6.0


def test_a_rate_is_the_work_of_a_repetition_over_its_median_time() -> None:
    samples = [Sample(index=i, stage="end_to_end", seconds=0.5) for i in range(5)]
    assert result_of(*samples, counters={"flops": 4.0}).rate("flops") == 8.0
    assert result_of(*samples).rate("flops") is None
    assert result_of(counters={"flops": 4.0}).rate("flops") is None


def test_a_peer_differs_in_the_named_axes_alone() -> None:
    results = results_from(attention_records())
    causal = next(result for result in results if result.axis("mask") == "causal" and result.ok)
    found = peer(causal, results, backend="sdpa")
    assert found is not None
    assert found.cell.axes == causal.cell.axes | {"backend": "sdpa"}
    assert peer(causal, results, backend="flash_attention_2") is None, "it is not ok"
    assert peer(causal, results, backend="flex") is None, "it is not planned"


def test_a_peer_is_of_the_same_run() -> None:
    here, there = (results_from(kernel_records(), run_id=name) for name in ("here", "there"))
    found = peer(here[1], [*there, *here], form="reference")
    assert found is not None
    assert found.run.id == "here"


def test_a_stage_that_is_all_there_is_of_the_whole_is_not_told_twice() -> None:
    assert distinct_stages(["kernel", "end_to_end"]) == ["end_to_end"]
    assert distinct_stages(["gaze", "gaze.steps", "end_to_end"]) == ["gaze", "gaze.steps", "end_to_end"]
    assert distinct_stages([]) == []
