"""Axes of suites, by the names that people type."""

import pytest

from autogaze.errors import InputError
from suites.catalogue import axes_of, overrides_of
from suites.loader import load_suite


@pytest.mark.parametrize(("suite", "axis"), [("attention", "backend"), ("smoke", "attention")])
def test_attn_narrows_whatever_a_suite_calls_its_attention_backends(suite: str, axis: str) -> None:
    overrides = overrides_of(suite, {"attn": ["sdpa", "eager"]})
    assert overrides == {axis: ["sdpa", "eager"]}
    points = load_suite(suite, overrides).points
    assert {dict(point.axes)[axis] for point in points} == {"sdpa", "eager"}


def test_an_axis_that_a_suite_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(
        InputError, match=r"unknown axis of suite kernels .chunk.: known are dtype, form, .*op"
    ):
        overrides_of("kernels", {"chunk": ["4"]})
    with pytest.raises(InputError, match="unknown axis of suite kernels 'attention'"):
        overrides_of("kernels", {"attn": ["sdpa"]})


def test_an_axis_has_what_all_workloads_of_a_suite_have_there() -> None:
    axes = axes_of("engines")
    assert axes["dtype"].workloads == ("ceiling", "gaze", "reconstruct")
    assert set(axes["dtype"].values) == {"float32", "bfloat16", "float16"}
    assert "released" in axes["engine"].known
    assert "released" not in axes["engine"].values, "it needs a checkout of the released code"
