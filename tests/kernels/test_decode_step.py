"""A step on the device chooses what the algorithm chooses; finished videos stay as they are."""

import copy

import pytest
import torch

from kernels.decode_step import reference, triton
from kernels.registry import OPERATIONS

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STEPS = {
    "reference": reference.step,
    "triton": triton.step,
    **OPERATIONS["decode_step"].launchable(DEVICE),
}


@pytest.fixture
def middle_of_a_frame():
    """Return state and weights of two videos."""
    operation = OPERATIONS["decode_step"]
    inputs = operation.inputs(operation.tested_shapes[1], torch.float32, DEVICE)
    return inputs["state"], inputs["weights"]


def fields(state):
    return {name: value for name, value in vars(state).items() if name not in ("keys", "values")}


def test_both_forms_leave_the_same_state(middle_of_a_frame):
    state, weights = middle_of_a_frame
    state.requirement[1] = 1e9  # the second video has enough at once
    after = {}
    for name, step in STEPS.items():
        after[name] = copy.deepcopy(state)
        step(after[name], weights)
        step(after[name], weights)
    filled = int(after["reference"].length.max())
    for form in set(STEPS) - {"reference"}:
        for name, expected in fields(after["reference"]).items():
            assert torch.equal(getattr(after[form], name), expected), (form, name)
        for name in ("keys", "values"):
            expected, found = (getattr(after[each], name)[..., :filled, :] for each in ("reference", form))
            assert (found[:, 0] - expected[:, 0]).abs().max() < 1e-4, form


@pytest.mark.parametrize("form", STEPS)
def test_choices_are_distinct_and_never_blocked_ones(middle_of_a_frame, form):
    state, weights = middle_of_a_frame
    before = state.group.clone()
    STEPS[form](state, weights)
    for old, new in zip(before.tolist(), state.group.tolist(), strict=True):
        assert len(set(new)) == len(new)
        assert not set(new) & {*old, state.eos}


@pytest.mark.parametrize("form", STEPS)
def test_the_budget_cuts_a_group_and_ends_the_frame(middle_of_a_frame, form):
    state, weights = middle_of_a_frame
    state.budget.fill_(14)
    STEPS[form](state, weights)
    assert state.finished.all()
    assert (state.group[:, :4] != state.eos).all()
    assert (state.group[:, 4:] == state.eos).all()
    assert torch.equal(state.chosen[:, 10:14], state.group[:, :4])
    assert (state.chosen[:, 14:] == state.eos).all()


@pytest.mark.parametrize("form", STEPS)
def test_a_step_after_the_end_changes_nothing_that_matters(middle_of_a_frame, form):
    state, weights = middle_of_a_frame
    state.budget.fill_(14)
    STEPS[form](state, weights)
    before = {name: getattr(state, name).clone() for name in ("length", "pending", "chosen", "finished")}
    STEPS[form](state, weights)
    for name, value in before.items():
        assert torch.equal(getattr(state, name), value), name


@pytest.mark.parametrize("form", STEPS)
def test_heads_that_predict_enough_give_their_position_up(middle_of_a_frame, form):
    state, weights = middle_of_a_frame
    trial = copy.deepcopy(state)
    losses = STEPS[form](trial, weights)[0, -10:]
    state.requirement[0] = losses.median()
    STEPS[form](state, weights)
    assert torch.equal(state.group[0] == state.eos, losses <= losses.median())
    assert state.finished.tolist() == [True, False]


@pytest.mark.parametrize("form", ["triton", "combine_in_attend"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_video_in_a_batch_gets_what_it_gets_alone_to_the_bit(dtype, form):
    """Lengths of one, several and all splits of the cache, and a video that has finished."""
    shape = {
        "heads": 2,
        "head_dim": 16,
        "layers": 2,
        "group": 10,
        "vocabulary": 266,
        "batch": 4,
        "cached": 1100,
    }
    inputs = OPERATIONS["decode_step"].inputs(shape, dtype, DEVICE)
    state, weights = inputs["state"], inputs["weights"]
    lengths = torch.tensor([1100, 7, 64 * 3 + 1, 400], dtype=torch.int32)
    state.length.copy_(lengths)
    state.step_position.copy_((lengths - 10).clamp(min=0))
    state.finished[3] = True
    alone = [copy.deepcopy(state) for _ in range(3)]
    step = STEPS[form]
    together = step(state, weights)
    for video, single in enumerate(alone):
        for name, value in vars(single).items():
            if value.dim() > 3 and value.shape[1] == 4:
                setattr(single, name, value[:, video : video + 1].contiguous())
            elif value.dim() and value.shape[0] == 4:
                setattr(single, name, value[video : video + 1].clone())
        assert torch.equal(step(single, weights)[0], together[video])
        assert torch.equal(single.group[0], state.group[video])
        assert torch.equal(single.keys[:, 0], state.keys[:, video])
