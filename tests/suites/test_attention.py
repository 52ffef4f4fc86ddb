"""The workload ``attention``: what it covers, checks and counts."""

import pytest
import torch

from autogaze.attention import FrameLayout, attend, flash
from autogaze.attention.eager import visibility
from autogaze.errors import BackendUnavailable, InputError
from suites import attention as module
from suites.attention import MASKS, Attention, tolerance, visible_pairs
from suites.loader import load_suite
from suites.workload import Inputs
from tests.attention.stand_in import PLAIN

SMALL = {"tokens": 48, "head_dim": 8, "heads": 2}


def axes(**changes):
    return {name: axis.default for name, axis in Attention.axes.items()} | SMALL | changes


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("padding", [0.0, 0.5])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_every_mask_is_checked_and_runs(backend, mask, padding):
    workload = Attention(axes(backend=backend, mask=mask, padding=padding, batch=2), Inputs())
    assert workload.run().shape == (2, 2, 48, 8)
    assert 0 <= workload.details["error.max"] <= workload.details["error.allowed"] < 1e-4
    assert workload.details["error.rows"] == 48


def test_the_kernels_that_ran_are_told():
    details = Attention(axes(backend="sdpa"), Inputs()).details
    assert details["attention"] == "sdpa"
    assert details["attention.kernels"] == ["aten::_scaled_dot_product_flash_attention_for_cpu"]


def test_what_differs_from_the_definition_is_not_timed(monkeypatch):
    monkeypatch.setattr(Attention, "_attend", lambda self: self.value * 1.1)
    with pytest.raises(ArithmeticError, match=r"'sdpa' differs from the definition by .*rounding explains"):
        Attention(axes(), Inputs())


def test_a_result_that_is_not_a_number_is_not_timed(monkeypatch):
    monkeypatch.setattr(Attention, "_attend", lambda self: self.value * float("nan"))
    with pytest.raises(ArithmeticError, match="by nan"):
        Attention(axes(), Inputs())


def test_of_a_long_sequence_some_rows_are_checked(monkeypatch):
    monkeypatch.setattr(module, "CHECKED_SCORES", 2 * 48 * 10)
    assert Attention(axes(), Inputs()).details["error.rows"] == 10


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_tolerance_tells_a_wrong_mask_from_rounding(dtype):
    """One key too many, of the many that a token sees, is more than rounding explains."""
    workload = Attention(axes(dtype=dtype), Inputs())
    wrong = FrameLayout((4, 2, *(3,) * 14))
    found = attend(workload.query, workload.key, workload.value, wrong, "eager")
    difference = (found - workload.run()).abs().max()
    assert difference > tolerance(dtype, float(workload.value.abs().max()))


@pytest.mark.parametrize("mask", MASKS)
def test_work_is_counted_from_who_sees_whom(mask):
    workload = Attention(axes(mask=mask, padding=0.4, batch=3), Inputs())
    padded = workload.layout.padding
    seen = visibility(workload.layout, torch.device("cpu"))[:, 0] & ~padded[:, :, None]
    counters = workload.quality(workload.run()).counters
    assert visible_pairs(workload.layout, 3) == seen.sum()
    assert counters["flops"] == 4 * seen.sum() * 2 * 8
    assert counters["padded_tokens"] == 3 * round(48 * 0.4)
    assert counters["bytes"] == 4 * (~padded).sum() * 2 * 8 * 4


def test_the_class_token_is_counted_too():
    layout = FrameLayout((3, 2), class_token=True)
    assert visible_pairs(layout, 2) == 2 * visibility(layout, torch.device("cpu")).sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 0}, "tokens 0 must be a whole number of at least 1"),
        ({"heads": 2.5}, "heads 2.5 must be a whole number"),
        (
            {"padding": 1.0},
            "padding 1.0 must be the share of tokens that are padding, at least 0 and below 1",
        ),
        ({"padding": True}, "padding True must be the share"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(change, message):
    [(name, value)] = change.items()
    with pytest.raises(InputError, match=message):
        Attention.axes[name].check(value)


def test_a_backend_that_cannot_run_is_unsupported():
    with pytest.raises(BackendUnavailable, match="runs on CUDA devices and CPUs, not on meta"):
        Attention(axes(backend="flash_attention_2"), Inputs(device="meta"))


def test_the_suite_covers_every_backend_and_mask():
    points = [dict(point.axes) for point in load_suite("attention").points]
    assert {(p["backend"], p["mask"]) for p in points} == {
        (backend, mask) for backend in Attention.axes["backend"].known for mask in MASKS
    }
    assert {512, 8192} <= {p["tokens"] for p in points}
    assert {32, 64, 128} == {p["head_dim"] for p in points}


def test_the_record_says_where_the_flash_kernel_takes_a_call_for_each_frame(monkeypatch):
    monkeypatch.setattr(flash, "find_kernel", lambda device_type: PLAIN)
    flash_axes = axes(backend="flash_attention_2", head_dim=16)
    (note,) = Attention({**flash_axes, "mask": "block_causal"}, Inputs()).notes
    assert "one call a frame" in note
    assert Attention({**flash_axes, "mask": "causal"}, Inputs()).notes == []
