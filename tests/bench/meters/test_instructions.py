import mmap
import os
import sys
import threading

import pytest

from bench.meters import instructions
from bench.meters.instructions import Event, open_counter

PAGE_FAULTS = Event(kind=1, number=2)
"""Counted by the kernel itself, so that a machine without counters can show how threads are counted."""


def touch(pages: int) -> None:
    """Write to so many pages that the process does not have yet."""
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(pages):
        memory[page * mmap.PAGESIZE] = 1


def counted(counter: instructions.Counter) -> int:
    found = counter.count()
    assert found is not None
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="perf_event_open is Linux's")
def test_threads_from_before_and_after_the_opening_are_counted() -> None:
    go, done = threading.Event(), threading.Event()

    def wait_and_touch() -> None:
        go.wait()
        touch(500)
        done.set()

    early = threading.Thread(target=wait_and_touch)
    early.start()
    counter = open_counter(PAGE_FAULTS)
    try:
        if counter.obstacle is not None:
            pytest.skip(counter.obstacle)
        touch(300)
        own = counted(counter)
        assert own >= 300
        go.set()
        done.wait()
        assert counted(counter) - own >= 500  # of a thread that may live on
        early.join()
        before = counted(counter)
        late = threading.Thread(target=touch, args=(700,))
        late.start()
        late.join()
        assert counted(counter) - before >= 700
    finally:
        go.set()
        counter.close()
        early.join()


def test_instructions_are_counted_where_the_machine_lets_a_process() -> None:
    counter = open_counter()
    try:
        if counter.obstacle is not None:
            pytest.skip(counter.obstacle)
        before = counted(counter)
        sum(range(100_000))
        assert counted(counter) - before > 100_000
    finally:
        counter.close()


@pytest.mark.skipif(sys.platform != "linux", reason="perf_event_open is Linux's")
def test_a_closed_counter_leaves_no_file_open() -> None:
    before = os.listdir("/proc/self/fd")
    open_counter(PAGE_FAULTS).close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_count_of_a_part_of_the_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [(1000, 50, 50), (500, 50, 49)]
    monkeypatch.setattr(instructions, "_threads", lambda: [1, 2])
    monkeypatch.setattr(instructions, "_opened", lambda event, thread: thread)
    monkeypatch.setattr(instructions.os, "close", lambda descriptor: None)
    monkeypatch.setattr(
        instructions.os,
        "read",
        lambda descriptor, size: instructions._READING.pack(*readings[descriptor - 1]),
    )
    counter = open_counter()
    assert counter.count() is None
    readings[1] = (500, 50, 50)
    assert counter.count() == 1500


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [("riscv64", "this kernel cannot count events"), ("x86_64", "offers no such counter")],
)
def test_where_nothing_is_counted_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, machine: str, sentence: str
) -> None:
    monkeypatch.setattr(instructions.platform, "machine", lambda: machine)
    if machine == "x86_64":
        monkeypatch.setattr(instructions, "_opened", _no_entry)
    counter = open_counter()
    assert counter.count() is None
    assert sentence in str(counter.obstacle)
    counter.close()


def _no_entry(event: Event, thread: int) -> int:
    raise FileNotFoundError(2, "No such file or directory")
