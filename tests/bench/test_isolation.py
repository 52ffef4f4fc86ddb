"""A cell has a process of its own, forked or started anew, and whatever becomes of that is a record."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.fork_server import ForkServer, ForkServerError, open_fork_server
from bench.isolation import run_job, run_jobs
from bench.job import Job
from bench.records import Cell, Record, Status

REPOSITORY = Path(__file__).parents[2]
TARGET = "tests.bench.fake_workload:Fake"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


@pytest.fixture(params=["interpreter", "fork"])
def server(request: pytest.FixtureRequest, importable: None) -> Iterator[ForkServer | None]:
    """Give what starts the processes; None starts interpreters."""
    if request.param == "interpreter":
        yield None
        return
    with open_fork_server([TARGET]) as server:
        yield server


def child(server: ForkServer | None, behaviour: str, timeout: float = 60, target: str = TARGET) -> Record:
    job = Job(
        cell=Cell(workload="fake", axes={"behaviour": behaviour}),
        target=target,
        inputs={"device": "cpu"},
        min_samples=5,
        time_budget_seconds=0.0,
    )
    return run_job(job, timeout, lambda phase: None, server)


def test_a_cell_is_measured_in_a_process_of_its_own(server: ForkServer | None) -> None:
    record = child(server, "print")
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
    server: ForkServer | None, behaviour: str, status: Status, reason: str
) -> None:
    record = child(server, behaviour)
    assert (record.status, record.reason) == (status, reason)
    assert {sample.index for sample in record.samples if not sample.warmup} == {0, 1}
    assert child(server, "good").status is Status.OK  # and the next cell is none the worse


def test_the_stack_of_a_segmentation_fault_is_kept(server: ForkServer | None) -> None:
    assert "_misbehave" in child(server, "segfault").details["stderr"]


@pytest.mark.parametrize(
    ("behaviour", "where"), [("hang", "after 2 samples"), ("hang in setup", "in its set-up")]
)
def test_a_child_that_hangs_is_killed_when_its_time_is_up(
    server: ForkServer | None, behaviour: str, where: str
) -> None:
    record = child(server, behaviour, timeout=3.0)
    assert (record.status, record.reason) == (Status.TIMEOUT, f"not done after 3 s, {where}")
    if server is None:
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    assert child(server, "good").status is Status.OK


def test_what_one_cell_leaves_behind_is_not_seen_by_the_next(server: ForkServer | None) -> None:
    leaking = [child(server, "leak") for _ in range(2)]
    assert [record.status for record in leaking] == [Status.OK, Status.OK]
    assert [record.quality["found"] for record in leaking] == [0.0, 0.0]


def test_forked_cells_share_what_the_server_imported() -> None:
    with open_fork_server([TARGET]) as server:
        first, second = (child(server, "pid") for _ in range(2))
        assert server.obstacle is None
    pids, parents = ({record.quality[name] for record in (first, second)} for name in ("pid", "parent"))
    assert len(pids) == 2
    assert len(parents) == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tests.bench.unsafe_import:Threads", "started 1 threads, which do not survive a fork"),
        ("tests.bench.unsafe_import:Cuda", "touched CUDA, which does not survive a fork"),
    ],
)
def test_where_an_import_makes_forks_unsafe_cells_are_interpreters(target: str, said: str) -> None:
    with open_fork_server([target, TARGET]) as server:
        assert said in str(server.obstacle)
        record = child(server, "pid")
    assert record.status is Status.OK
    assert record.quality["parent"] == os.getpid()


def test_modules_are_imported_by_their_names_too() -> None:
    with open_fork_server(["nowhere", "tests.bench.unsafe_import.threads", TARGET]) as server:
        assert "started 1 threads" in str(server.obstacle)


def test_a_workload_that_cannot_be_imported_fails_in_its_own_cell() -> None:
    with open_fork_server(["nowhere:Fake", TARGET]) as server:
        assert child(server, "good", target="nowhere:Fake").status is Status.FAILED
        assert child(server, "good").status is Status.OK


def test_a_server_that_is_killed_costs_a_restart_of_the_interpreter_and_no_cell() -> None:
    with open_fork_server([TARGET]) as server:
        parent = child(server, "pid").quality["parent"]
        os.kill(int(parent), signal.SIGKILL)
        assert child(server, "good").status is Status.OK


def test_on_a_system_without_forks_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.fork_server.sys.platform", "darwin")
    with (
        pytest.raises(ForkServerError, match="cannot be forked safely on darwin"),
        open_fork_server([TARGET]),
    ):
        pass


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


def test_jobs_that_share_a_process_get_another_one_when_it_dies(server: ForkServer | None) -> None:
    records = list(
        run_jobs(jobs("good", "print", "raise", "exit", "good", "print"), 60, lambda phase: None, server)
    )
    assert [record.status for record in records] == ["ok", "ok", "failed", "failed", "ok", "ok"]
    first, second, raised, died, *later = (record.details.get("process") for record in records)
    assert first == second == raised
    assert died is None
    assert later[0] == later[1] != first


def test_each_job_in_a_shared_process_has_a_time_of_its_own(server: ForkServer | None) -> None:
    begun, hung, after = run_jobs(jobs("good", "hang", "good"), 5.0, lambda phase: None, server)
    assert (hung.status, hung.reason) == (Status.TIMEOUT, "not done after 5 s, after 2 samples")
    assert after.status is Status.OK
    assert begun.details["process"] != after.details["process"]


def test_what_one_job_printed_is_not_blamed_on_the_next(server: ForkServer | None) -> None:
    _, died = run_jobs(jobs("print", "exit"), 60, lambda phase: None, server)
    assert died.reason == "ended with exit code 3 and no result"


def test_whoever_stops_listening_ends_the_process(server: ForkServer | None) -> None:
    records = run_jobs(jobs("good", "hang"), 60, lambda phase: None, server)
    process = next(records).details["process"]
    os.kill(process, 0)
    records.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
