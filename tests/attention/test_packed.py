"""A batch as a row of real tokens, in which each video attends as if it were alone."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from autogaze.attention import FrameLayout, PackedLayout, attend, attend_packed, available_backends, flash
from autogaze.attention.flash import Kernel, Sequences
from autogaze.attention.packed import packing_of
from autogaze.errors import InputError
from tests.attention.layouts import HEAD_DIM, HEADS, layouts, packed_layouts, real, tensors
from tests.attention.stand_in import PLAIN, SHARING

CPU = torch.device("cpu")
RUNNABLE = [name for name, reason in available_backends("cpu", torch.float32).items() if reason is None]


def rows(layout: PackedLayout, *shape: int) -> Tensor:
    return torch.randn(layout.length, *shape, generator=torch.Generator().manual_seed(0))


def query_key_value(layout: PackedLayout) -> tuple[Tensor, ...]:
    return rows(layout, 3, HEADS, HEAD_DIM).unbind(1)


@given(layout=layouts())
@settings(max_examples=100, deadline=None)
def test_what_is_packed_comes_back_and_padding_becomes_zero(layout: FrameLayout) -> None:
    q, _, _ = tensors(layout)
    packing = packing_of(layout, q.shape[0], CPU)
    packed = packing.pack(q)
    keep = real(layout, q.shape[0])
    assert len(packed) == packing.layout.length == keep.sum()
    assert torch.equal(packed, q.transpose(1, 2)[keep])
    assert torch.equal(packing.unpack(packed, q.shape), q * keep[:, None, :, None])


@given(layout=layouts())
@settings(max_examples=100, deadline=None)
def test_segments_tile_the_row_frame_by_frame(layout: FrameLayout) -> None:
    batch = 2 if layout.padding is None else layout.padding.shape[0]
    segments = packing_of(layout, batch, CPU).layout.segments
    frames = layout.frame_of_token(CPU).expand(batch, -1)[real(layout, batch)]
    assert [s.start for s in segments] == [0, *(s.end for s in segments)][: len(segments)]
    assert [s.frame for s in segments for _ in range(s.length)] == frames.tolist()


def test_an_unpadded_batch_is_packed_without_a_copy() -> None:
    layout = FrameLayout((2, 3))
    q, _, _ = tensors(layout)
    packing = packing_of(layout, 2, CPU)
    assert packing.pack(q).data_ptr() == q.data_ptr()
    assert packing.unpack(packing.pack(q), q.shape).data_ptr() == q.data_ptr()


def test_videos_know_where_they_begin_and_end() -> None:
    padding = torch.tensor([[0, 1, 0], [1, 1, 0]], dtype=torch.bool)
    layout = packing_of(FrameLayout((2, 1), padding, class_token=True), 2, CPU).layout
    found = [(s.frame, s.start, s.end, s.video_start, s.video_end) for s in layout.segments]
    assert layout.tokens_each_frame == ((1, 1), (0, 1))
    assert found == [(-1, 0, 1, 0, 3), (0, 1, 2, 0, 3), (1, 2, 3, 0, 3), (-1, 3, 4, 3, 5), (1, 4, 5, 3, 5)]


@pytest.mark.parametrize("backend", RUNNABLE)
@given(layout=packed_layouts())
@settings(max_examples=60, deadline=None)
def test_each_video_of_a_row_attends_as_if_alone(backend: str, layout: PackedLayout) -> None:
    q, k, v = query_key_value(layout)
    found = attend_packed(q, k, v, layout, backend)
    assert found.shape == q.shape
    parts = (x.split(list(layout.lengths)) for x in (q, k, v, found))
    for tokens, *video in zip(layout.tokens_each_frame, *parts, strict=True):
        alone = FrameLayout(tokens, None, layout.kind, layout.frame_independent, layout.class_token)
        query, key, value, seen = (x.transpose(0, 1)[None] for x in video)
        expected = attend(query, key, value, alone, "eager")
        torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [SHARING, PLAIN], ids=lambda kernel: kernel.name)
@given(layout=packed_layouts().filter(lambda layout: layout.length > 0))
@settings(max_examples=100, deadline=None)
def test_flash_kernels_of_a_gpu_agree_over_rows(kernel: Kernel, layout: PackedLayout) -> None:
    q, k, v = query_key_value(layout)
    found = flash.attend_packed_with(kernel, q, k, v, layout, HEAD_DIM**-0.5)
    torch.testing.assert_close(found, attend_packed(q, k, v, layout, "eager"), atol=1e-5, rtol=1e-5)


RAGGED = PackedLayout(((3, 1, 2), (2, 2, 2), (2, 2, 2), (0, 4, 1)), class_token=True)


@pytest.mark.parametrize("kind", ["block_causal", "causal", "bidirectional"])
@pytest.mark.parametrize("independent", [False, True], ids=["", "frame_independent"])
def test_flash_computes_all_videos_of_a_row_in_one_call(
    kind: Any, independent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Sequences] = []

    def noting(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        called.append(sequences)
        return SHARING.run(query, key, value, sequences, scale)

    monkeypatch.setattr(flash, "find_kernel", lambda device: replace(SHARING, run=noting))
    layout = replace(RAGGED, kind=kind, frame_independent=independent)
    for _ in range(2):
        attend_packed(*query_key_value(layout), layout, "flash_attention_2")
    assert len(called) == 2
    assert called[0] is called[1]  # worked out at the first layer only


def test_a_kernel_that_cannot_share_keys_is_called_once_a_frame_for_all_videos_of_a_row() -> None:
    plan = flash._plan(PackedLayout(((3, 1), (2, 2))), CPU, at_once=False)
    assert [sequences.cu_query.tolist() for _, sequences in plan.calls] == [[0, 0, 3, 3, 5], [0, 0, 1, 1, 3]]
    assert [sequences.cu_key.tolist() for _, sequences in plan.calls] == [[0, 0, 3, 4, 6], [0, 0, 4, 4, 8]]


@pytest.mark.parametrize("backend", ["sdpa", "flash_attention_2"])
def test_gradients_of_a_row_agree_with_the_definition(backend: str) -> None:
    gradients = []
    for name in (backend, "eager"):
        inputs = [x.clone().requires_grad_() for x in query_key_value(RAGGED)]
        torch.autograd.backward(attend_packed(*inputs, RAGGED, name).square().sum())
        gradients.append([x.grad for x in inputs])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_scale_multiplies_the_scores_of_a_row() -> None:
    q, k, v = query_key_value(RAGGED)
    expected = attend_packed(q * HEAD_DIM**0.5, k, v, RAGGED)
    torch.testing.assert_close(attend_packed(q, k, v, RAGGED, scale=1.0), expected)


@pytest.mark.parametrize("backend", RUNNABLE)
def test_a_row_without_tokens_stays_empty(backend: str) -> None:
    layout = PackedLayout(((0, 0), (0, 0)))
    assert attend_packed(*query_key_value(layout), layout, backend).shape == (0, HEADS, HEAD_DIM)


def test_tensors_of_another_length_than_the_row_are_refused() -> None:
    q, k, v = query_key_value(RAGGED)
    with pytest.raises(InputError, match=r"layout holds 27 tokens of 4 videos, but .* hold 26"):
        attend_packed(q[1:], k[1:], v[1:], RAGGED)
    with pytest.raises(InputError, match=r"must share one shape, \(total, heads, head_dim\)"):
        attend_packed(q[None], k[None], v[None], RAGGED)


def test_an_unknown_kind_and_a_negative_number_of_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'block_causal'"):
        PackedLayout(((2,),), kind="blockcausal")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\[2, -1\] must not be negative"):
        PackedLayout(((1, 1), (2, -1)))


def test_videos_of_equal_frames_are_one_batch() -> None:
    layout = PackedLayout(((2, 1), (2, 1), (1, 2), (2, 1)))
    assert [(run.tokens_per_frame, count) for run, count in layout.runs] == [
        ((2, 1), 2),
        ((1, 2), 1),
        ((2, 1), 1),
    ]
    assert [run.shape for run in layout.split_runs(rows(layout, 5))] == [(2, 3, 5), (1, 3, 5), (1, 3, 5)]


@given(packed_layouts().map(lambda layout: replace(layout, class_token=True)))
def test_class_tokens_are_put_in_and_taken_out(layout: PackedLayout) -> None:
    tokens, class_tokens = rows(layout, 2)[: sum(map(sum, layout.tokens_each_frame))], torch.randn(4, 2)
    class_tokens = class_tokens[: len(layout.lengths)]
    found = layout.without_class_token(layout.with_class_token(class_tokens, tokens))
    assert torch.equal(found[0], class_tokens)
    assert torch.equal(found[1], tokens)


@pytest.mark.parametrize("count", [1, 3])
def test_one_class_token_serves_all_videos(count: int) -> None:
    layout = PackedLayout(((1,),) * count, class_token=True)
    x = layout.with_class_token(torch.ones(1, 2), torch.zeros(count, 2))
    assert x[:, 0].tolist() == [1, 0] * count
