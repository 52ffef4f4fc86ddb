import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autogaze.errors import InputError
from bench import worker
from bench.job import Event, Job
from bench.meters.instructions import NoCounter
from bench.meters.power import NoMeter
from bench.records import CPU_OTHERS, WHOLE, Cell, Record, Status
from bench.worker import measure
from tests.bench import fake_workload


def job(behaviour: str = "good", target: str = "tests.bench.fake_workload:Fake", **more: Any) -> Job:
    cell = Cell(workload="fake", axes={"behaviour": behaviour})
    fields = {"min_samples": 5, "time_budget_seconds": 0.0} | more
    return Job(cell=cell, target=target, inputs={"device": "cpu"}, **fields)


def measured(behaviour: str = "good", **more: Any) -> Record:
    return measure(job(behaviour, **more), lambda event: None)


def test_a_cell_has_set_up_warm_up_and_timed_samples_apart() -> None:
    record = measured()
    assert record.status is Status.OK
    assert [sample.stage for sample in record.samples if sample.warmup] == [
        "setup",
        "end_to_end",
        "decode",
        "gaze",
        "gaze.steps",
    ]
    timed = [(sample.index, sample.stage) for sample in record.samples if not sample.warmup]
    assert timed == [(i, s) for i in range(5) for s in ("end_to_end", "decode", "gaze", "gaze.steps")]


def test_repetitions_go_on_until_the_time_budget_is_used() -> None:
    record = measured("spin", min_samples=1, time_budget_seconds=0.07)
    whole = [
        sample.seconds for sample in record.samples if sample.stage == "end_to_end" and not sample.warmup
    ]
    assert len(whole) > 1
    assert sum(whole) >= 0.07
    assert sum(whole[:-1]) < 0.07


def test_work_comes_from_the_outputs_and_from_the_library() -> None:
    counters = measured().counters
    assert (counters["frames"], counters["selected_patches"], counters["decode_steps"]) == (2.0, 53.0, 3.0)


def test_quality_is_the_mean_over_frames() -> None:
    record = measured()
    assert record.quality == {"loss": 1.0, "psnr": 20.5, "ssim": 0.5, "kept_ratio": 0.1}
    assert [frame.psnr for frame in record.frames] == [20.0, 21.0]


def test_repetitions_that_agree_give_their_patch_hash() -> None:
    assert measured().patch_hash == "hash0"


def test_repetitions_that_disagree_give_a_note_instead() -> None:
    record = measured("wander")
    assert record.patch_hash is None
    assert "the timed repetitions chose 5 different sets of patches" in record.notes


def test_caveats_and_details_of_the_workload_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.LoadMeter, "share", lambda self: None)
    record = measured()
    assert record.notes == ("fake weights",)
    assert record.details["engine"] == "fake"


def test_peak_memory_is_recorded() -> None:
    peak = measured().memory.resident_peak
    assert peak is not None
    assert peak > 2**20


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("raise", Status.FAILED, "RuntimeError: something broke"),
        ("memory", Status.OUT_OF_MEMORY, "MemoryError: no room"),
        ("torch_memory", Status.OUT_OF_MEMORY, "CUDA out of memory"),
        ("allocator", Status.OUT_OF_MEMORY, "DefaultCPUAllocator"),
        ("refuse", Status.FAILED, "video v.mp4 has no frames: name a video with at least one"),
        ("unavailable", Status.UNSUPPORTED, "backend flex cannot run on cpu: use sdpa"),
    ],
)
def test_what_goes_wrong_becomes_status_and_reason(behaviour: str, status: Status, reason: str) -> None:
    record = measured(behaviour)
    assert record.status is status
    assert record.reason is not None
    assert reason in record.reason
    assert "\n" not in record.reason


def test_a_crash_keeps_its_traceback_and_a_refusal_has_none() -> None:
    assert "in _misbehave" in measured("raise").details["traceback"]
    assert "traceback" not in measured("refuse").details
    assert measured("refuse").details["refused"] is True


def test_samples_before_a_failure_are_kept() -> None:
    record = measured("raise")
    assert {sample.index for sample in record.samples if not sample.warmup} == {0, 1}
    assert record.quality["psnr"] == 20.5


def test_samples_are_sent_as_they_are_taken() -> None:
    events: list[Event] = []
    record = measure(job("raise"), events.append)
    assert tuple(sample for event in events for sample in event.samples) == record.samples
    assert [event.phase for event in events if event.kind == "phase"] == [
        "setup",
        "warm-up",
        "sample 1",
        "sample 2",
        "sample 3",
    ]


def test_a_workload_that_is_not_there_is_a_failure() -> None:
    assert measured(target="nowhere:Fake").status is Status.FAILED


def test_outputs_are_judged_after_their_time_was_taken_and_equal_ones_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = []
    original = fake_workload.Fake.quality

    def quality(self: fake_workload.Fake, output: dict[str, Any]) -> Any:
        judged.append(output["run"])
        return original(self, output)

    monkeypatch.setattr(fake_workload.Fake, "quality", quality)
    measured("good")
    measured("wander")
    assert judged == [0, 2, 3, 4, 5, 6]


def test_the_garbage_collector_rests_while_the_clock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = []

    def run(self: fake_workload.Fake) -> dict[str, int]:
        enabled.append(gc.isenabled())
        return {"run": 0}

    monkeypatch.setattr(fake_workload.Fake, "run", run)
    measured()
    assert enabled == [False] * 6
    assert gc.isenabled()


def test_what_is_loaded_is_out_of_the_collectors_sight_while_it_is_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen, before = [], gc.get_freeze_count()

    def run(self: fake_workload.Fake) -> dict[str, int]:
        frozen.append(gc.get_freeze_count() > before)
        return {"run": 0}

    monkeypatch.setattr(fake_workload.Fake, "run", run)
    measured()
    assert frozen == [False, *[True] * 5]  # the warm-up may still load
    assert gc.get_freeze_count() == 0
    monkeypatch.setattr(fake_workload.Fake, "run", lambda self: 1 / 0)
    measured()
    assert gc.get_freeze_count() == 0


def test_energy_is_that_of_the_repetition_and_not_of_what_prepares_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Meter(NoMeter):
        joules = 0.0

        def energy_joules(self) -> float:
            return self.joules

    meter = Meter()

    def using(joules: float) -> Callable[..., dict[str, int]]:
        def use(*_: object) -> dict[str, int]:
            meter.joules += joules
            return {"run": 0}

        return use

    monkeypatch.setattr(worker, "open_meter", lambda pci_id: meter)
    monkeypatch.setattr(gc, "collect", using(100))
    monkeypatch.setattr(worker.MemoryMeter, "begin", using(1000))
    monkeypatch.setattr(fake_workload.Fake, "run", using(5))
    assert measured().energy_joules == 5


def test_instructions_are_recorded_beside_the_times_and_the_counter_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Counter:
        obstacle = None
        readings = 0
        closed = 0

        def count(self) -> int:
            self.readings += 1
            return 10**9 * self.readings

        def close(self) -> None:
            self.closed += 1

    counter = Counter()
    monkeypatch.setattr(worker, "open_counter", lambda: counter)
    counts = {(s.index, s.stage): s.instructions for s in measured("good").samples if not s.warmup}
    # Readings at both ends of the whole, of decode and of gaze; gaze.steps is no top-level stage.
    stages = {"end_to_end": 5 * 10**9, "decode": 10**9, "gaze": 10**9, "gaze.steps": None}
    assert counts == {(index, name): count for index in range(5) for name, count in stages.items()}
    assert counter.closed == 1
    assert measured("raise").status is Status.FAILED
    assert counter.closed == 2


def test_where_nothing_counts_instructions_samples_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "open_counter", NoCounter)
    assert {sample.instructions for sample in measured().samples} == {None}


def test_a_refusal_is_not_mistaken_for_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def quality(self: fake_workload.Fake, output: dict[str, Any]) -> Any:
        raise InputError("reconstruction does not fit: name another checkpoint")

    monkeypatch.setattr(fake_workload.Fake, "quality", quality)
    assert measured().reason == "reconstruction does not fit: name another checkpoint"


ACCOMPANIED = "tests.bench.fake_workload:Accompanied"


def test_a_peer_and_this_project_take_turns_and_each_goes_first_every_other_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fake_workload.Accompanied, "turns", turns := [])
    record = measured(target=ACCOMPANIED, min_samples=3)
    warm_up, *pairs = zip(turns[::2], turns[1::2])
    assert warm_up == ("theirs", "ours")
    assert pairs == [("theirs", "ours"), ("ours", "theirs"), ("theirs", "ours")]
    assert [sample.index for sample in record.samples if sample.stage == "ours"] == [0, 0, 1, 2]
    assert [sample.warmup for sample in record.samples if sample.stage == "ours"] == [True, *[False] * 3]


def test_memory_is_the_peers_where_there_is_one() -> None:
    assert measured(target=ACCOMPANIED).memory.resident_peak == 7


def test_without_a_peer_nothing_is_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_workload.Accompanied, "turns", turns := [])
    monkeypatch.setattr(fake_workload.Accompanied, "peer", None)
    record = measured(target=ACCOMPANIED)
    assert set(turns) == {"theirs"}
    assert "ours" not in {sample.stage for sample in record.samples}


def test_a_slow_cell_takes_fewer_samples_rather_than_none() -> None:
    record = measured(min_samples=5, timeout_seconds=0.0)
    assert record.status is Status.OK
    assert len([s for s in record.samples if s.stage == WHOLE and not s.warmup]) == 1
    assert "1 of 5 samples: more would not fit into 0 s" in record.notes
    assert not any("would not fit" in note for note in measured(min_samples=5, timeout_seconds=60.0).notes)


def test_a_job_without_a_timeout_survives_the_way_to_its_process() -> None:
    original = job()
    assert Job.model_validate_json(original.model_dump_json()) == original


def test_arrays_of_the_timed_outputs_are_kept_in_the_folder_of_the_run(tmp_path: Path) -> None:
    sharing = "tests.bench.fake_workload:Sharing"
    record = measured(target=sharing, folder=str(tmp_path), min_samples=2)
    with np.load(tmp_path / record.details["arrays"]) as held:
        assert held["runs"].tolist() == [0, 1]  # Judged after the first timed run, which followed a warm-up.
    other = measure(job("print", target=sharing, folder=str(tmp_path)), lambda event: None)
    assert other.details["arrays"] != record.details["arrays"]
    assert "arrays" not in measured(target=sharing).details
    assert "arrays" not in measured(folder=str(tmp_path)).details


def test_arrays_that_cannot_be_written_make_a_failed_record_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    record = measured(target="tests.bench.fake_workload:Sharing", folder=str(tmp_path / "file"))
    assert record.status is Status.FAILED
    assert record.quality["psnr"] == 20.5


@pytest.mark.parametrize(("share", "noted"), [(0.31, True), (0.05, False), (None, False)])
def test_short_repetitions_have_the_share_of_other_programs_over_all_of_them(
    monkeypatch: pytest.MonkeyPatch, share: float | None, noted: bool
) -> None:
    # One meter a repetition, which cannot tell, and one over all of them.
    meters: list[object] = []

    class Meter:
        def __init__(self, peer: int | None = None) -> None:
            meters.append(self)

        def begin(self) -> None:
            return

        def share(self) -> float | None:
            return share if meters.index(self) == 1 else None

    monkeypatch.setattr(worker, "LoadMeter", Meter)
    record = worker.measure(job("good"), lambda event: None)
    assert record.details[CPU_OTHERS] == (share or 0.0)
    assert any("other programs used" in note for note in record.notes) is noted
