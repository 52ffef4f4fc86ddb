import os
from pathlib import Path

import pytest

from bench.isolation import run_job, run_jobs
from bench.job import Job
from bench.records import Cell, Record, Status

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def child(behaviour: str, timeout: float = 60) -> Record:
    job = Job(
        cell=Cell(workload="fake", axes={"behaviour": behaviour}),
        target="tests.bench.fake_workload:Fake",
        inputs={"device": "cpu"},
        min_samples=5,
        time_budget_seconds=0.0,
    )
    return run_job(job, timeout, lambda phase: None)


def test_a_cell_is_measured_in_a_process_of_its_own() -> None:
    record = child("print")
    assert record.status is Status.OK
    assert (
        len([sample for sample in record.samples if sample.stage == "end_to_end" and not sample.warmup]) == 5
    )
    assert record.started
    assert record.elapsed_seconds > 0


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("segfault", Status.FAILED, "died of SIGSEGV"),
        ("killed", Status.OUT_OF_MEMORY, "killed by the system, probably for want of memory"),
        ("exit", Status.FAILED, "ended with exit code 3 and no result"),
    ],
)
def test_a_child_that_dies_is_a_record_with_the_samples_it_had_sent(
    behaviour: str, status: Status, reason: str
) -> None:
    record = child(behaviour)
    assert (record.status, record.reason) == (status, reason)
    assert {sample.index for sample in record.samples if not sample.warmup} == {0, 1}


def test_the_stack_of_a_segmentation_fault_is_kept() -> None:
    assert "_misbehave" in child("segfault").details["stderr"]


def test_a_child_that_hangs_is_killed_when_its_time_is_up() -> None:
    record = child("hang", timeout=2.0)
    assert (record.status, record.reason) == (Status.TIMEOUT, "not done after 2 s")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def jobs(*behaviours: str) -> list[Job]:
    return [
        Job(
            cell=Cell(workload="fake", axes={"behaviour": behaviour}),
            target="tests.bench.fake_workload:Sharing",
            inputs={"device": "cpu"},
            min_samples=5,
            time_budget_seconds=0.0,
        )
        for behaviour in behaviours
    ]


def test_jobs_that_share_a_process_get_another_one_when_it_dies() -> None:
    records = list(run_jobs(jobs("good", "print", "raise", "exit", "good", "print"), 60, lambda phase: None))
    assert [record.status for record in records] == ["ok", "ok", "failed", "failed", "ok", "ok"]
    first, second, raised, died, *later = (record.details.get("process") for record in records)
    assert first == second == raised
    assert died is None
    assert later[0] == later[1] != first


def test_each_job_in_a_shared_process_has_a_time_of_its_own() -> None:
    begun, hung, after = run_jobs(jobs("good", "hang", "good"), 5.0, lambda phase: None)
    assert (hung.status, hung.reason) == (Status.TIMEOUT, "not done after 5 s")
    assert after.status is Status.OK
    assert begun.details["process"] != after.details["process"]


def test_what_one_job_printed_is_not_blamed_on_the_next() -> None:
    _, died = run_jobs(jobs("print", "exit"), 60, lambda phase: None)
    assert died.reason == "ended with exit code 3 and no result"


def test_whoever_stops_listening_ends_the_process() -> None:
    records = run_jobs(jobs("good", "hang"), 60, lambda phase: None)
    process = next(records).details["process"]
    os.kill(process, 0)
    records.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
