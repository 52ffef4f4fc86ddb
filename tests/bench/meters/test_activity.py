"""What a device did, from the events of a trace."""

from typing import Any

import pytest

from bench.meters.activity import activities, busy_seconds, by_name, by_place, launches, operations, span_of


def event(category: str, name: str, start: float, end: float, thread: int = 7) -> dict[str, Any]:
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "ts": start,
        "dur": end - start,
        "pid": 0,
        "tid": thread,
    }


def kernel(name: str, start: float, end: float, stream: int = 7) -> dict[str, Any]:
    return event("kernel", name, start, end, stream)


def test_each_launch_has_the_gap_before_it_and_the_device_was_busy_for_the_rest() -> None:
    found = activities([kernel("b", 15, 20), kernel("a", 0, 10), event("gpu_memcpy", "copy", 20, 21)])
    assert [(each.name, each.gap) for each in found] == [
        ("a", None),
        ("b", pytest.approx(5e-6)),
        ("copy", pytest.approx(0)),
    ]
    assert busy_seconds(found) == pytest.approx(16e-6)


def test_streams_that_overlap_leave_no_gap_and_count_once() -> None:
    found = activities([kernel("long", 0, 100), kernel("in it", 10, 20, 8), kernel("after", 110, 120, 8)])
    assert [each.gap for each in found] == [None, 0.0, pytest.approx(10e-6)]
    assert busy_seconds(found) == pytest.approx(110e-6)


def test_a_device_that_did_nothing_was_not_busy() -> None:
    assert busy_seconds(activities([event("cpu_op", "aten::add", 0, 10)])) == 0.0


def test_launches_are_calls_of_the_host_and_one_inside_another_is_that_one() -> None:
    events = [
        event("cuda_runtime", "cudaLaunchKernel", 0, 5),
        event("cuda_driver", "cuLaunchKernel", 1, 4),
        event("cuda_driver", "cuLaunchKernelEx", 6, 7),
        event("cuda_runtime", "cudaGraphLaunch", 8, 9),
        event("cuda_runtime", "cudaMemcpyAsync", 10, 11),
        event("cuda_runtime", "cudaMemsetAsync", 10, 11, thread=8),
        event("cuda_runtime", "cudaDeviceSynchronize", 12, 90),
        event("cuda_runtime", "cudaStreamIsCapturing", 91, 92),
        kernel("a", 0, 10),
    ]
    assert launches(events) == 5


def test_an_operator_inside_another_is_part_of_it() -> None:
    events = [
        event("cpu_op", "aten::linear", 0, 10),
        event("cpu_op", "aten::addmm", 1, 9),
        event("cpu_op", "aten::relu", 10, 12),
        event("cpu_op", "aten::add", 3, 4, thread=8),
    ]
    assert operations(events) == 3


def test_replays_have_a_row_for_each_launch_in_order() -> None:
    events = [
        kernel(name, 100 * replay + start, 100 * replay + end)
        for replay in range(3)
        for name, start, end in (("a", 0, 10), ("b", 12, 20 + replay))
    ]
    assert by_place(activities(events), 3) == [
        {"name": "a", "us": 10.0, "gap_us": 79.5},
        {"name": "b", "us": 9.0, "gap_us": 2.0},
    ]


@pytest.mark.parametrize("names", ["aba", "abba"])
def test_replays_that_differ_have_no_rows(names: str) -> None:
    events = [kernel(name, 10 * place, 10 * place + 5) for place, name in enumerate(names)]
    with pytest.raises(ValueError, match="are not 2 times the same"):
        by_place(activities(events), 2)


def test_launches_by_name_begin_with_what_takes_most() -> None:
    rows = by_name(activities([kernel("a", 0, 1), kernel("b", 2, 12), kernel("a", 15, 17)]))
    assert rows == [
        {"name": "b", "count": 1, "us.all": 10.0, "us": 10.0, "gap_us": 1.0},
        {"name": "a", "count": 2, "us.all": 3.0, "us": 1.5, "gap_us": 3.0},
    ]


def test_a_mark_tells_how_long_it_was() -> None:
    events = [{"ph": "M", "name": "thread_name"}, event("user_annotation", "end_to_end", 5, 25)]
    assert span_of(events, "end_to_end") == pytest.approx(20e-6)
    assert span_of(events, "gaze") is None
