"""A profile is taken apart from the timed samples, and the record names its trace."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bench import profiling, worker
from bench.profiling import figures
from bench.records import Status
from tests.bench import fake_workload
from tests.bench.meters.test_activity import event, kernel
from tests.bench.test_worker import ACCOMPANIED, job, measured


def test_the_trace_of_a_cell_is_kept_with_its_stages_and_the_record_names_it(tmp_path: Path) -> None:
    record = measured(profiled=True, folder=str(tmp_path))
    assert record.details["profile.trace"].startswith("traces/")
    with gzip.open(tmp_path / record.details["profile.trace"]) as file:
        events = json.load(file)["traceEvents"]
    marks = {each["name"] for each in events if each.get("cat") == "user_annotation"}
    assert {"end_to_end", "decode", "gaze", "gaze.steps"} <= marks
    assert record.details["profile.seconds"] > 0
    assert record.details["profile.operations_per_frame"] == record.details["profile.operations"] / 2
    assert "profile.busy_share" not in record.details


def test_timed_samples_are_all_taken_before_and_are_as_many_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    run, watched = fake_workload.Fake.run, profiling.watched

    def noted_run(self: fake_workload.Fake) -> dict[str, Any]:
        order.append("run")
        return run(self)

    def noted_watch(*given: Any) -> Any:
        order.append("watch")
        return watched(*given)

    monkeypatch.setattr(fake_workload.Fake, "run", noted_run)
    monkeypatch.setattr(profiling, "watched", noted_watch)
    record = measured(profiled=True, folder=str(tmp_path))
    assert order == ["run"] * 6 + ["watch", "run"]
    assert len(record.samples) == len(measured().samples)
    assert record.counters == measured().counters


def test_without_being_asked_nothing_is_watched(tmp_path: Path) -> None:
    details = measured(folder=str(tmp_path)).details
    assert not [name for name in details if name.startswith("profile")]
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_with_a_profile_costs_no_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no profiler here\nat all")

    monkeypatch.setattr(profiling, "watched", broken)
    record = measured(profiled=True, folder=str(tmp_path))
    assert record.status is Status.OK
    assert record.details["profile.none"] == "RuntimeError: no profiler here"


def test_a_cell_that_has_no_time_left_is_not_profiled(tmp_path: Path) -> None:
    record = measured("spin", profiled=True, folder=str(tmp_path), timeout_seconds=0.05, min_samples=2)
    assert record.details["profile.none"] == "it would not fit into 0.05 s"


def test_work_of_another_process_is_not_watched(tmp_path: Path) -> None:
    record = measured(target=ACCOMPANIED, profiled=True, folder=str(tmp_path))
    assert record.details["profile.none"] == "the work is done in another process"


def test_a_device_has_its_busy_share_and_launches_for_each_frame() -> None:
    events = [
        event("user_annotation", "end_to_end", 0, 100),
        event("cpu_op", "aten::add", 0, 1),
        *(event("cuda_runtime", "cudaLaunchKernel", start, start + 1) for start in (1, 3, 5, 7)),
        kernel("a", 10, 30),
        kernel("b", 50, 70),
    ]
    found = figures(events, timed=80e-6, counters={"frames": 2.0})
    assert found["profile.busy_share"] == pytest.approx(0.4)
    assert found["profile.busy_share_timed"] == pytest.approx(0.5)
    assert found["profile.launches_per_frame"] == 2
    assert found["profile.activities_per_frame"] == 1
    assert found["profile.operations_per_frame"] == 0.5


def test_a_cell_without_frames_has_its_figures_for_each_call() -> None:
    found = figures([event("cpu_op", "aten::add", 0, 1)], timed=1.0, counters={"calls": 4.0})
    assert found == {"profile.operations": 1.0, "profile.operations_per_call": 0.25}


def test_a_job_goes_without_what_an_older_tree_does_not_know() -> None:
    assert "profiled" not in job().line()
    assert "profiled" in job(profiled=True).line()
    task = worker._TASK.validate_json(job(profiled=True, timeout_seconds=5.0).line())
    assert task == job(profiled=True, timeout_seconds=5.0)
    assert worker._TASK.validate_json(job().line()) == job()
