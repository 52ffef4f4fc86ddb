"""A packed gaze holds the real gazes and finds the way back; a row of videos attends as each video alone."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autogaze.attention import attend, attend_packed
from autogaze.attention.packed import PackedLayout
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
def test_cumulative_lengths_cut_the_row_into_videos_and_frames(gaze: GazeOutput) -> None:
    packed = gaze.packed()
    videos = packed.positions.tensor_split(packed.cu_seqlens[1:-1].long())
    for row, positions, padded in zip(videos, gaze.gazing_pos, gaze.if_padded_gazing, strict=True):
        assert torch.equal(row, positions[~padded])
    frames = packed.positions.tensor_split(packed.cu_seqlens_each_frame[1:-1].long())
    for number, row in enumerate(frames):
        assert set((row // 20).tolist()) <= {number % packed.frames}
    assert packed.cu_seqlens.dtype == packed.cu_seqlens_each_frame.dtype == torch.int32
    assert packed.cu_seqlens[-1] == packed.cu_seqlens_each_frame[-1] == len(packed.positions)
    assert packed.max_seqlen == packed.cu_seqlens.diff().max()
    assert packed.max_seqlen_each_frame == packed.cu_seqlens_each_frame.diff().max()


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


@st.composite
def layouts(draw: st.DrawFn) -> PackedLayout:
    frames = draw(st.integers(1, 3))
    video = st.tuples(*[st.integers(0, 3)] * frames)
    return PackedLayout(
        tuple(draw(st.lists(video, min_size=1, max_size=4))),
        draw(st.sampled_from(["block_causal", "causal", "bidirectional"])),
        frame_independent=draw(st.booleans()),
        class_token=draw(st.booleans()),
    )


def rows(layout: PackedLayout, *shape: int) -> Tensor:
    return torch.randn(sum(layout.lengths), *shape, generator=torch.Generator().manual_seed(0))


@given(layouts())
@settings(deadline=None, max_examples=50)
def test_each_video_of_a_row_attends_as_if_alone(layout: PackedLayout) -> None:
    q, k, v = rows(layout, 3, 2, 4).unbind(1)
    found = attend_packed(q, k, v, layout, "sdpa")
    assert found.shape == q.shape
    parts = (x.split(list(layout.lengths)) for x in (q, k, v, found))
    for tokens, *video in zip(layout.tokens_each_frame, *parts, strict=True):
        alone = PackedLayout((tokens,), layout.kind, layout.frame_independent, layout.class_token)
        query, key, value, seen = (x.transpose(0, 1)[None] for x in video)
        expected = attend(query, key, value, alone.runs[0][0], "eager")
        torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-5)


def test_videos_of_equal_frames_are_one_batch() -> None:
    layout = PackedLayout(((2, 1), (2, 1), (1, 2), (2, 1)))
    assert [(run.tokens_per_frame, count) for run, count in layout.runs] == [
        ((2, 1), 2),
        ((1, 2), 1),
        ((2, 1), 1),
    ]
    assert [run.shape for run in layout.split_runs(rows(layout, 5))] == [(2, 3, 5), (1, 3, 5), (1, 3, 5)]


@given(layouts())
def test_class_tokens_are_put_in_and_taken_out(layout: PackedLayout) -> None:
    if not layout.class_token:
        return
    tokens, class_tokens = rows(layout, 2)[: sum(map(sum, layout.tokens_each_frame))], torch.randn(4, 2)
    class_tokens = class_tokens[: len(layout.lengths)]
    found: Any = layout.without_class_token(layout.with_class_token(class_tokens, tokens))
    assert torch.equal(found[0], class_tokens)
    assert torch.equal(found[1], tokens)


@pytest.mark.parametrize("count", [1, 3])
def test_one_class_token_serves_all_videos(count: int) -> None:
    layout = PackedLayout(((1,),) * count, class_token=True)
    x = layout.with_class_token(torch.ones(1, 2), torch.zeros(count, 2))
    assert x[:, 0].tolist() == [1, 0] * count
