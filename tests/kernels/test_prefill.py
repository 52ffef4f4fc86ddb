"""A prefill on the step's kernels begins a frame as the algorithm does, and reads what is filled alone."""

import copy
import math

import pytest
import torch

from kernels.decode_step import reference as step_reference
from kernels.decode_step import triton as step_triton
from kernels.prefill import reference, triton
from kernels.registry import OPERATIONS

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SMALL = {"heads": 2, "head_dim": 16, "layers": 2, "group": 10, "vocabulary": 266, "vision": 70}
"""Two blocks of rows, the second of which is not full."""
RAGGED, FIRST, FEW = (
    {**SMALL, "batch": 3, "cached": 150},
    {**SMALL, "batch": 2, "cached": 0},
    {**SMALL, "batch": 2, "cached": 40, "vision": 4},
)
CASES = {"ragged": RAGGED, "first frame": FIRST, "fewer rows than a matrix unit takes": FEW}
each_case = pytest.mark.parametrize("case", CASES)


def inputs_of(case, dtype=torch.float32):
    return OPERATIONS["prefill"].inputs(CASES[case], dtype, DEVICE)


def begun_by_both(inputs):
    """Return the states that the definition and the kernels leave behind."""
    states = [copy.deepcopy(inputs["state"]) for _ in range(2)]
    for state, form in zip(states, (reference, triton), strict=True):
        form.begin(state, inputs["weights"], inputs["vision"])
    return states


@pytest.mark.parametrize(
    ("case", "budget", "requirement"),
    [
        *((case, 30, -math.inf) for case in CASES),
        *(("fewer rows than a matrix unit takes", *limits) for limits in ((4, -1.0), (30, 0.0), (30, 1e9))),
    ],
)
def test_both_forms_leave_the_same_books(case, budget, requirement):
    inputs = inputs_of(case)
    inputs["state"].budget.fill_(budget)
    inputs["state"].requirement.fill_(requirement)
    expected, found = begun_by_both(inputs)
    for name, value in expected.books.items():
        assert torch.equal(getattr(found, name), value), name
    assert (found.group[:, 0] != found.eos).all(), "a frame has a gaze, whatever is required"


@each_case
def test_both_forms_fill_the_same_slots_and_leave_the_others_alone(case):
    inputs = inputs_of(case)
    before = copy.deepcopy(inputs["state"])
    expected, found = begun_by_both(inputs)
    for name in ("keys", "values"):
        for video, (old, new) in enumerate(zip(before.lengths, found.lengths, strict=True)):
            was, is_now, right = (getattr(each, name)[:, video] for each in (before, found, expected))
            assert torch.equal(is_now[:, :, :old], was[:, :, :old])
            assert torch.equal(is_now[:, :, new:], was[:, :, new:])
            assert (is_now[:, :, old:new] - right[:, :, old:new]).abs().max() < 1e-4
            assert not torch.equal(is_now[:, :, old:new], was[:, :, old:new])


@each_case
def test_slots_that_are_not_filled_are_not_read(case):
    inputs = inputs_of(case)
    expected = triton.begin(copy.deepcopy(inputs["state"]), inputs["weights"], inputs["vision"])
    state = inputs["state"]
    for video, length in enumerate(state.lengths):
        state.keys[:, video, :, length:] = math.nan
        state.values[:, video, :, length:] = math.nan
    assert torch.equal(triton.begin(state, inputs["weights"], inputs["vision"]), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_video_in_a_batch_gets_what_it_gets_alone_to_the_bit(dtype):
    inputs = inputs_of("ragged", dtype)
    state, weights, vision = inputs["state"], inputs["weights"], inputs["vision"]
    state.length[1] = 7
    alone = [copy.deepcopy(state) for _ in range(3)]
    together = triton.begin(state, weights, vision)
    for video, single in enumerate(alone):
        for name, value in vars(single).items():
            if name in ("keys", "values"):
                setattr(single, name, value[:, video : video + 1].contiguous())
            elif name not in ("rotation", "budget"):
                setattr(single, name, value[video : video + 1].clone())
        assert torch.equal(triton.begin(single, weights, vision[video : video + 1])[0], together[video])
        assert torch.equal(single.group[0], state.group[video])
        assert torch.equal(single.keys[:, 0], state.keys[:, video])


def test_frames_in_a_row_choose_the_same_groups():
    """What is pending at the second prefill is the group of the step, or of the prefill where a video gave up
    a part of it there."""
    inputs = inputs_of("first frame")
    groups = {}
    for name, begin, step in (
        ("reference", reference.begin, step_reference.step),
        ("triton", triton.begin, step_triton.step),
    ):
        state = copy.deepcopy(inputs["state"])
        state.budget.fill_(17)
        seen = []
        for requirement in (0.3, -math.inf):
            state.requirement[1] = requirement
            begin(state, inputs["weights"], inputs["vision"][:, :30])
            seen.append(state.pending.clone())
            step(state, inputs["weights"])
            seen.append(state.pending.clone())
        assert state.finished.all()
        groups[name] = torch.stack(seen)
    assert torch.equal(groups["triton"], groups["reference"])
    assert (groups["triton"] == inputs["state"].eos).any()


def test_it_says_where_the_host_reads_which_videos_have_finished():
    inputs = inputs_of("ragged")
    inputs["state"].requirement[1] = math.inf
    for form in (reference, triton):
        ended = torch.full((3,), 99, dtype=torch.int32, device=DEVICE)
        form.begin(copy.deepcopy(inputs["state"]), inputs["weights"], inputs["vision"], ended=ended)
        assert ended.tolist() == [0, 10, 0]
