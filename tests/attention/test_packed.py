"""A batch as a row of real tokens."""

import torch
from hypothesis import given, settings

from autogaze.attention import FrameLayout
from autogaze.attention.packed import row_of
from tests.attention.layouts import layouts, real, tensors

CPU = torch.device("cpu")


@given(layout=layouts())
@settings(max_examples=100, deadline=None)
def test_what_is_packed_comes_back_and_padding_becomes_zero(layout: FrameLayout) -> None:
    q, _, _ = tensors(layout)
    row = row_of(layout, q.shape[0], CPU)
    packed = row.pack(q)
    keep = real(layout, q.shape[0])
    assert len(packed) == row.length == keep.sum()
    assert torch.equal(packed, q.transpose(1, 2)[keep])
    assert torch.equal(row.unpack(packed, q.shape), q * keep[:, None, :, None])


@given(layout=layouts())
@settings(max_examples=100, deadline=None)
def test_segments_tile_the_row_frame_by_frame(layout: FrameLayout) -> None:
    batch = 2 if layout.padding is None else layout.padding.shape[0]
    row = row_of(layout, batch, CPU)
    frames = layout.frame_of_token(CPU).expand(batch, -1)[real(layout, batch)]
    assert [s.start for s in row.segments] == [0, *(s.end for s in row.segments)][: len(row.segments)]
    assert [s.frame for s in row.segments for _ in range(s.length)] == frames.tolist()


def test_an_unpadded_row_copies_nothing() -> None:
    layout = FrameLayout((2, 3))
    q, _, _ = tensors(layout)
    row = row_of(layout, 2, CPU)
    assert row.pack(q).data_ptr() == q.data_ptr()
    assert row.unpack(row.pack(q), q.shape).data_ptr() == q.data_ptr()


def test_videos_know_where_they_begin_and_end() -> None:
    padding = torch.tensor([[0, 1, 0], [1, 1, 0]], dtype=torch.bool)
    row = row_of(FrameLayout((2, 1), padding, class_token=True), 2, CPU)
    found = [(s.frame, s.start, s.end, s.video_start, s.video_end) for s in row.segments]
    assert found == [(-1, 0, 1, 0, 3), (0, 1, 2, 0, 3), (1, 2, 3, 0, 3), (-1, 3, 4, 3, 5), (1, 4, 5, 3, 5)]
