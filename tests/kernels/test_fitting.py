"""Of several forms the first that fits is launched, from then on alone, and the record can say so."""

import copy

import pytest
import torch
from triton.runtime.errors import OutOfResources

from kernels.decode_step import reference
from kernels.fitting import Fitting
from kernels.registry import OPERATIONS


class TooLarge:
    """A form that does part of its work and then launches what the GPU has no room for."""

    def __init__(self, part=lambda *given, **named: None):
        self.calls, self.part = 0, part

    def __call__(self, *given, **named):
        self.calls += 1
        self.part(*given, **named)
        raise OutOfResources(155648, 101376, "shared memory")


def test_a_form_that_fits_is_taken_and_there_is_nothing_to_say():
    form = Fitting({"first": lambda x: x + 1, "second": lambda x: x})
    assert (form(1), form.taken, form.remark) == (2, "first", None)


def test_the_next_form_is_taken_at_once_and_the_one_that_does_not_fit_is_not_tried_again():
    large = TooLarge()
    form = Fitting({"combine": large, "attend": lambda x: x + 1})
    assert [form(1), form(2)] == [2, 3]
    assert (large.calls, form.taken) == (1, "attend")
    assert form.remark == (
        "combine wants 155648 of shared memory in a block and this GPU has 101376: attend is launched instead"
    )


def test_where_none_fits_the_last_one_says_so():
    form = Fitting({"a": TooLarge(), "b": TooLarge()})
    for _ in range(2):
        with pytest.raises(OutOfResources, match="Hardware limit: 101376"):
            form()
    assert form.taken == "b"


def test_another_error_is_not_taken_for_a_form_that_does_not_fit():
    form = Fitting({"a": lambda: 1 / 0, "b": lambda: 1})
    with pytest.raises(ZeroDivisionError):
        form()


def test_a_step_that_was_half_launched_is_done_again_to_the_bit():
    """What comes before the launch that fails writes slots of the cache, which are written again."""
    operation = OPERATIONS["decode_step"]
    inputs = operation.inputs(operation.tested_shapes[1], torch.float32, torch.device("cpu"))
    plain = copy.deepcopy(inputs)

    def half(state, weights, sequential=False):
        for video, length in enumerate(state.length.tolist()):
            state.keys[0, video, :, length : length + 10] = 7.0
            state.values[0, video, :, length : length + 10] = 7.0

    expected = reference.step(**plain)
    assert torch.equal(Fitting({"large": TooLarge(half), "reference": reference.step})(**inputs), expected)
    for name, value in vars(plain["state"]).items():
        assert torch.equal(getattr(inputs["state"], name), value), name
