"""What workloads foresee is the work that they then count."""

from collections.abc import Mapping
from typing import Any

import pytest

from suites.foresight import choice_of, gaze_architecture
from suites.loader import workload_class
from suites.outlook import Efforts
from suites.settings import parse_setting
from suites.workload import AxisValue, Foreseeing, Inputs

CLIP = {"chunk": 2, "dtype": "float32", "attention": "sdpa", "batch": 8, "engine": "eager"}
"""One call of eight short chunks."""


def axes_of(name: str, axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    return {axis: each.default for axis, each in workload_class(name).axes.items()} | dict(axes)


def outlook(name: str, axes: Mapping[str, AxisValue]) -> Any:
    workload: object = workload_class(name)
    assert isinstance(workload, Foreseeing)
    return workload.foresee(axes_of(name, axes), Inputs())


def flops(efforts: Efforts) -> float:
    return sum(each.flops + each.row_flops + each.native_flops + each.attention_flops for each in efforts)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("gaze", {**CLIP, "setting": "ratio_0.05"}),
        ("gaze", {**CLIP, "setting": "ratio_0.05", "batch": 1, "chunk": 16}),
        ("reconstruct", {**CLIP, "setting": "ratio_0.05"}),
        ("end_to_end", {**CLIP, "setting": "ratio_0.05"}),
        ("attention", {"backend": "flash_attention_2", "tokens": 64, "heads": 2}),
        ("attention", {"backend": "flash_attention_2", "tokens": 64, "heads": 2, "mask": "causal"}),
        ("attention", {"backend": "sdpa", "tokens": 64, "heads": 2, "mask": "bidirectional"}),
        ("kernel", {"operation": "decode_step", "form": "reference", "size": 0}),
    ],
)
def test_the_work_foreseen_is_the_work_counted(name: str, axes: dict[str, AxisValue]) -> None:
    workload = workload_class(name)(axes_of(name, axes), Inputs())
    counted = workload.quality(workload.run()).counters["flops"]
    assert flops(outlook(name, axes).repetition) == pytest.approx(counted, rel=1e-6)


def test_with_a_requirement_the_work_lies_between_a_group_a_frame_and_the_budget() -> None:
    axes = {**CLIP, "setting": "ratio_0.75_task_0.70"}
    workload = workload_class("gaze")(axes_of("gaze", axes), Inputs())
    counted = workload.quality(workload.run()).counters["flops"]
    foreseen = outlook("gaze", axes)
    # Rounding of a group that stops early aside.
    assert 0.9 * flops(foreseen.least) <= counted <= flops(foreseen.repetition)
    assert flops(foreseen.least) < flops(foreseen.repetition)


def test_fewest_and_most_gazes_are_the_same_without_a_requirement() -> None:
    axes = axes_of("gaze", {"engine": "eager"})
    choice = choice_of(axes, Inputs(), parse_setting("ratio_0.25"), 1)
    assert choice.least == choice.budgets == choice.likely
    group = gaze_architecture(None, None).group
    asked = choice_of(axes, Inputs(), parse_setting("ratio_0.75_task_0.70"), 1)
    assert asked.least == (group,) * 16
    assert all(group < each < most for each, most in zip(asked.likely, asked.budgets, strict=True))


@pytest.mark.parametrize(
    ("name", "axes", "sentence"),
    [
        ("gaze", {"engine": "graph"}, "engine 'graph' captures CUDA graphs"),
        ("end_to_end", {"attention": "triton"}, "attention backend 'triton'"),
        ("reconstruct", {"attention": "triton"}, "attention backend 'triton'"),
        ("encode", {"attention": "triton"}, "attention backend 'triton'"),
        ("evaluate", {"engine": "triton"}, "engine 'triton'"),
        ("quality", {"engine": "native", "dtype": "bfloat16"}, "engine 'native' computes float32"),
        ("quality", {"judge": "lpips"}, "LPIPS needs"),
        ("attention", {"backend": "triton"}, "attention backend 'triton' runs on CUDA devices"),
        ("kernel", {"form": "triton"}, "the triton form of decode_step needs a CUDA device"),
    ],
)
def test_what_cannot_run_here_is_known_before_in_the_words_of_the_cell(
    name: str, axes: dict[str, AxisValue], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    found = outlook(name, axes)
    assert found.obstacle is not None
    assert found.obstacle.startswith(sentence)


@pytest.mark.parametrize("name", ["gaze", "encode", "quality", "evaluate", "attention", "kernel", "ceiling"])
def test_what_can_run_has_work_and_memory(name: str) -> None:
    found = outlook(name, {"form": "reference"} if name == "kernel" else {})
    assert found.obstacle is None
    assert flops(found.repetition) > 0
    assert found.memory_bytes >= found.certain_bytes > 0


def test_the_greedy_search_is_foreseen_to_take_many_times_the_gaze_models_choice() -> None:
    axes = {"source": "synthetic:val", "clips": 1, "setting": "ratio_0.05"}
    gaze, greedy = (
        flops(outlook("quality", {**axes, "selector": each}).repetition) for each in ("gaze", "greedy")
    )
    assert greedy > 5 * gaze


def test_eager_attention_holds_its_scores() -> None:
    small = outlook("attention", {"backend": "flash_attention_2", "tokens": 65536})
    large = outlook("attention", {"backend": "eager", "tokens": 65536})
    assert large.certain_bytes > 12 * 65536**2 * 4 > 10 * small.certain_bytes
