"""The native prefill does what the reference does, whatever is pending and cached; steps are taken in one
call."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from kernels.decode_step import native, reference
from kernels.decode_step.state import begin_frame
from tests.kernels.test_native_step import OPERATION, inputs_of, small_parts

FULL, EARLY, SPLIT, NOTHING = 10, 4, -1, 0
"""Pending gazes of a video: a whole group, four, a group with padding in between, none."""


@pytest.fixture
def threads():
    """Return what sets torch's number of threads, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def between_frames(cached, tokens, pending=(FULL, FULL), **change):
    """Return a state of two videos that have ended a frame, weights, and the next frame's vision tokens."""
    state, weights = inputs_of({**OPERATION.tested_shapes[1], "cached": max(cached, 10), **change})
    generator = torch.Generator().manual_seed(1)
    room = tokens + 30
    angle = torch.rand(state.keys.shape[3] + room, state.keys.shape[4] // 2, generator=generator) * 6.28
    state = replace(
        state,
        keys=F.pad(state.keys, (0, 0, 0, room)),
        values=F.pad(state.values, (0, 0, 0, room)),
        rotation=torch.stack([angle.cos(), angle.sin()], dim=-1),
        length=torch.tensor([cached, max(cached - 5, 0)], dtype=torch.int32),
    )
    for video, gazes in enumerate(pending):
        if gazes == SPLIT:
            state.pending[video, 2:5] = state.eos
        else:
            state.pending[video, gazes:] = state.eos
    begin_frame(state)
    width = state.keys.shape[2] * state.keys.shape[4]
    return state, weights, torch.randn(2, tokens, width, generator=generator)


def both(state, weights, vision):
    """Return the states that reference and native prefill leave."""
    expected, found = copy.deepcopy(state), copy.deepcopy(state)
    reference.prefill(expected, weights, vision)
    decoder = native.NativeDecoder(found, weights)
    decoder.prefill(vision)
    return expected, found


def require_same(expected, found):
    for name, value in small_parts(expected).items():
        assert torch.equal(getattr(found, name), value), name
    for name in ("keys", "values"):
        for video, length in enumerate(expected.length):
            difference = getattr(found, name)[:, video] - getattr(expected, name)[:, video]
            assert difference[:, :, :length].abs().max() < 1e-5, name


# Within a run of keys, at its edges, and several; less than a vector of tokens, just more, and several tiles.
@pytest.mark.parametrize("cached", [0, 1, 100, 127, 128, 300])
@pytest.mark.parametrize("tokens", [1, 6, 22, 60])
def test_a_prefill_behind_any_number_of_keys_is_the_reference_s(cached, tokens):
    require_same(*both(*between_frames(cached, tokens)))


@pytest.mark.parametrize(
    "pending", [(EARLY, FULL), (SPLIT, EARLY), (NOTHING, SPLIT), (NOTHING, NOTHING), (FULL, NOTHING)]
)
def test_only_what_is_pending_is_fed_and_each_video_has_its_own_number(pending):
    require_same(*both(*between_frames(150, 38, pending)))


@pytest.mark.parametrize("change", [{"group": 7}, {"group": 16}, {"head_dim": 32}, {"heads": 1, "layers": 1}])
def test_other_sizes_are_prefilled_too(change):
    group = change.get("group", 10)
    require_same(*both(*between_frames(40, 50, (group, group - 2), **change)))


def test_predictions_are_the_reference_s(monkeypatch):
    state, weights, vision = between_frames(200, 45)
    choose, made = reference.choose, []
    monkeypatch.setattr(reference, "choose", lambda *given, **named: made.append(choose(*given, **named)))
    reference.prefill(copy.deepcopy(state), weights, vision)
    decoder = native.NativeDecoder(state, weights)
    assert decoder.prefill(vision) == 55
    assert (decoder.predictions - made[0]).abs().max() / made[0].std() <= OPERATION.tolerance[torch.float32]


def test_the_first_gaze_of_a_frame_is_kept_whatever_the_requirement():
    state, weights, vision = between_frames(150, 38)
    state.requirement.fill_(float("inf"))
    expected, found = both(state, weights, vision)
    assert found.finished.all()
    assert (found.chosen[:, 0] != found.eos).all()
    require_same(expected, found)


def test_slots_that_were_never_written_to_are_never_read():
    state, weights, vision = between_frames(0, 60, (NOTHING, NOTHING))
    _, expected = both(state, weights, vision)
    state.keys.fill_(float("nan"))
    state.values.fill_(float("nan"))
    decoder = native.NativeDecoder(state, weights)
    decoder.prefill(vision)
    decoder.steps(1)
    reference.step(expected, weights)
    require_same(expected, state)


def test_vision_tokens_may_be_a_frame_of_a_longer_video_or_lie_any_other_way():
    state, weights, vision = between_frames(150, 38)
    _, expected = both(state, weights, vision)
    frames = torch.stack([torch.zeros_like(vision), vision], dim=1)
    for same in (frames[:, 1], vision.mT.contiguous().mT):
        assert not same.is_contiguous()
        assert torch.equal(both(state, weights, same)[1].keys, expected.keys)


def test_tokens_that_c_would_misread_are_refused():
    state, weights, vision = between_frames(150, 38)
    decoder = native.NativeDecoder(state, weights)
    with pytest.raises(TypeError, match=r"float64"):
        decoder.prefill(vision.double())
    with pytest.raises(ValueError, match=r"\(2, tokens, 48\)"):
        decoder.prefill(vision[:1])


def test_steps_taken_together_are_those_taken_one_by_one():
    state, weights, vision = between_frames(150, 38)
    state = replace(state, chosen=torch.full((2, 50), state.eos))
    state.budget.fill_(24)
    begin_frame(state)
    together, alone = copy.deepcopy(state), copy.deepcopy(state)
    decoder = native.NativeDecoder(together, weights)
    decoder.prefill(vision)
    assert decoder.steps(3) == 2
    assert decoder.steps(3) == 0
    decoder = native.NativeDecoder(alone, weights)
    decoder.prefill(vision)
    for _ in range(2):
        decoder.steps(1)
    for name, value in vars(alone).items():
        assert torch.equal(getattr(together, name), value), name


def test_any_number_of_threads_prefills_the_same_bits(threads):
    state, weights, vision = between_frames(300, 60, (FULL, EARLY))
    results = []
    for number in (1, 2, 5, 3):
        threads(number)
        results.append(both(state, weights, vision)[1])
    assert all(torch.equal(result.keys, results[0].keys) for result in results[1:])
    assert all(torch.equal(result.chosen, results[0].chosen) for result in results[1:])


def test_a_video_of_numbers_that_are_none_leaves_its_mate_alone():
    state, weights, vision = between_frames(150, 38)
    _, expected = both(state, weights, vision)
    vision[0] = float("nan")
    _, found = both(state, weights, vision)
    assert found.keys[1:, 0].isnan().any()
    assert torch.equal(found.keys[:, 1], expected.keys[:, 1])
    assert torch.equal(found.chosen[1], expected.chosen[1])


def test_a_block_that_does_not_fit_is_refused_before_anything_is_written():
    state, weights, vision = between_frames(150, 38)
    before = state.keys.clone()
    state.length.fill_(state.keys.shape[3] - 40)
    with pytest.raises(IndexError, match="does not fit behind"):
        native.NativeDecoder(state, weights).prefill(vision)
    assert torch.equal(state.keys, before)
