"""A packed gaze holds the real gazes and finds the way back."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import GazeOutput, gazing_masks
from autogaze.gaze.packed import PackedGaze

GRID = PatchGrid((32, 64), 16)


@st.composite
def gazes(draw: st.DrawFn) -> GazeOutput:
    batch = draw(st.integers(1, 3))
    slots = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    total = batch * sum(slots)
    frame = torch.arange(len(slots)).repeat_interleave(torch.tensor(slots))
    patch = torch.tensor(
        draw(st.lists(st.integers(0, 19), min_size=total, max_size=total)), dtype=torch.int64
    )
    padded = torch.tensor(draw(st.lists(st.booleans(), min_size=total, max_size=total)), dtype=torch.bool)
    positions, padded = frame * 20 + patch.view(batch, -1), padded.view(batch, -1)
    masks = gazing_masks(positions, padded, len(slots), GRID)
    return GazeOutput(positions, padded, torch.tensor(slots), masks, list(GRID.scales), 20)


@given(gazes())
@settings(max_examples=50)
def test_only_real_gazes_are_kept_in_their_order(gaze: GazeOutput) -> None:
    packed = gaze.packed()
    assert torch.equal(packed.positions, gaze.gazing_pos[~gaze.if_padded_gazing])
    assert torch.tensor(packed.gazes_each_frame).equal(gaze.gazes_each_frame())


@given(gazes())
@settings(max_examples=50)
def test_the_padded_form_is_found_again(gaze: GazeOutput) -> None:
    packed = gaze.packed()
    assert torch.equal(packed.if_padded_gazing, gaze.if_padded_gazing)
    assert torch.equal(packed.pad(packed.positions), gaze.gazing_pos.masked_fill(gaze.if_padded_gazing, 0))
    features = torch.randn(len(packed.positions), 2, 3)
    padded = packed.pad(features)
    assert torch.equal(padded[~gaze.if_padded_gazing], features)
    assert not padded[gaze.if_padded_gazing].any()


@given(gazes())
@settings(max_examples=50)
def test_places_tell_all_patches_of_a_batch_apart(gaze: GazeOutput) -> None:
    packed = gaze.packed()
    seen = torch.zeros(packed.batch * packed.frames * 20)
    seen[packed.places()] = 1
    assert torch.equal(seen.view(packed.batch, packed.frames, 20), torch.cat(gaze.gazing_mask, dim=2))


def test_a_packed_gaze_is_made_from_plain_tensors() -> None:
    padded = torch.tensor([[0, 1, 0], [1, 0, 0]], dtype=torch.bool)
    packed = PackedGaze.from_padded(torch.tensor([[3, 9, 25], [7, 4, 21]]), padded, [2, 1], 20)
    assert packed.positions.tolist() == [3, 25, 4, 21]
    assert packed.gazes_each_frame == ((1, 1), (1, 1))
    assert packed.slots.tolist() == [0, 2, 4, 5]
