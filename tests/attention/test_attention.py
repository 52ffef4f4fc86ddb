"""Every backend computes the same masked softmax, whatever the layout."""

import pytest
import torch
from hypothesis import given, settings

from autogaze.attention import FrameLayout, attend, available_backends, require_backend
from autogaze.errors import BackendUnavailable, InputError
from tests.attention.layouts import HEAD_DIM, HEADS, assert_real_tokens_agree, layouts, real, tensors

RUNNABLE = [name for name, reason in available_backends("cpu", torch.float32).items() if reason is None]
FAST = [name for name in RUNNABLE if name != "eager"]


@pytest.mark.parametrize("backend", FAST)
@given(layout=layouts())
@settings(max_examples=150, deadline=None)
def test_a_fast_backend_agrees_with_the_definition(backend: str, layout: FrameLayout) -> None:
    q, k, v = tensors(layout)
    expected, found = attend(q, k, v, layout, "eager"), attend(q, k, v, layout, backend)
    assert found.shape == q.shape
    assert_real_tokens_agree(found, expected, layout)
    assert found.isfinite().all()
    assert expected.isfinite().all()


@pytest.mark.parametrize("backend", RUNNABLE)
@given(layout=layouts())
@settings(max_examples=75, deadline=None)
def test_padded_tokens_have_no_influence(backend: str, layout: FrameLayout) -> None:
    q, k, v = tensors(layout)
    keep = real(layout, q.shape[0])
    noise = (~keep)[:, None, :, None] * 50.0
    before = attend(q, k, v, layout, backend).transpose(1, 2)[keep]
    after = attend(q, k + noise, v - noise, layout, backend).transpose(1, 2)[keep]
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)


SEEN = {
    # Two frames of two tokens behind a class token; rows are queries.
    ("block_causal", False): ["10000", "11100", "11100", "11111", "11111"],
    ("causal", False): ["10000", "11000", "11100", "11110", "11111"],
    ("bidirectional", False): ["11111", "11111", "11111", "11111", "11111"],
    ("block_causal", True): ["10000", "11100", "11100", "10011", "10011"],
    ("causal", True): ["10000", "11000", "11100", "10010", "10011"],
    ("bidirectional", True): ["10000", "11100", "11100", "10011", "10011"],
}


@pytest.mark.parametrize("backend", RUNNABLE)
@pytest.mark.parametrize(("rule", "rows"), SEEN.items(), ids=str)
def test_each_kind_shows_exactly_these_keys(backend: str, rule: tuple[str, bool], rows: list[str]) -> None:
    layout = FrameLayout((2, 2), None, rule[0], frame_independent=rule[1], class_token=True)  # type: ignore[arg-type]
    flat = torch.zeros(1, 5, HEADS, HEAD_DIM).transpose(1, 2)
    picks = torch.eye(5, HEAD_DIM)[None, :, None].expand(1, 5, HEADS, HEAD_DIM).contiguous().transpose(1, 2)
    weights = attend(flat, flat, picks, layout, backend)[0, 0, :, :5]
    assert ["".join("1" if weight > 0 else "0" for weight in row) for row in weights] == rows


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close_to_the_definition(dtype: torch.dtype, backend: str) -> None:
    layout = FrameLayout(
        (3, 4), torch.tensor([[0, 0, 1, 0, 0, 0, 0], [0] * 7], dtype=torch.bool), class_token=True
    )
    q, k, v = (x.to(dtype) for x in tensors(layout))
    found, expected = attend(q, k, v, layout, backend), attend(q, k, v, layout, "eager")
    assert found.dtype == dtype
    assert_real_tokens_agree(found, expected, layout, 2e-2)


def test_gradients_agree_with_the_definition() -> None:
    layout = FrameLayout(
        (3, 4), torch.tensor([[0, 0, 1, 0, 0, 0, 0], [0] * 7], dtype=torch.bool), class_token=True
    )
    keep = real(layout, 2)
    gradients = {}
    for backend in ("eager", "sdpa"):
        q, k, v = inputs = [x.clone().requires_grad_() for x in tensors(layout)]
        loss = attend(q, k, v, layout, backend).transpose(1, 2)[keep].square().sum()
        torch.autograd.backward(loss)
        gradients[backend] = [x.grad for x in inputs]
    for found, expected in zip(gradients["sdpa"], gradients["eager"], strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_scale_multiplies_the_scores() -> None:
    layout = FrameLayout((4,))
    q, k, v = tensors(layout)
    torch.testing.assert_close(attend(q, k, v, layout, scale=1.0), attend(q * HEAD_DIM**0.5, k, v, layout))


def test_what_is_derived_is_built_once_for_all_layers() -> None:
    layout, built = FrameLayout((2,)), []
    assert [layout.once("mask", lambda: built.append(1) or len(built)) for _ in range(3)] == [1, 1, 1]  # type: ignore[func-returns-value]


def test_sdpa_masks_are_a_row_of_keys_at_most() -> None:
    layout = FrameLayout((40, 40), torch.arange(160).view(2, 80) % 7 == 0, class_token=True)
    q, k, v = tensors(layout)
    attend(q, k, v, layout, "sdpa")
    held = [mask for value in layout._derived.values() for mask in value]
    assert held
    assert max(mask.numel() for mask in held) <= 2 * layout.length


def test_an_unknown_backend_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'sdpa'"):
        require_backend("spda", "cpu", torch.float32)


def test_a_known_backend_that_cannot_run_says_why() -> None:
    layout = FrameLayout((4,))
    with pytest.raises(BackendUnavailable, match=r"'flash_attention_2' .*not on meta; use 'sdpa'"):
        attend(*(tensor.to("meta") for tensor in tensors(layout)), layout, "flash_attention_2")


def test_tensors_of_another_length_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"layout holds 6 tokens \(5 in 2 frames, class token: yes\).*hold 5"
    ):
        attend(*tensors(FrameLayout((2, 3))), FrameLayout((2, 3), class_token=True))


def test_tensors_of_different_shapes_are_refused() -> None:
    q, k, v = tensors(FrameLayout((4,)))
    with pytest.raises(InputError, match="must share one shape"):
        attend(q, k[:, :, :3], v, FrameLayout((4,)))


def test_padding_for_another_batch_is_refused() -> None:
    layout = FrameLayout((2,), torch.zeros(3, 2, dtype=torch.bool))
    with pytest.raises(InputError, match="batch of 3, the tensors hold 2"):
        attend(*tensors(FrameLayout((2,))), layout)


def test_padding_that_does_not_cover_the_slots_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(batch, 5\) bool"):
        FrameLayout((2, 3), torch.zeros(1, 4, dtype=torch.bool))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'block_causal'"):
        FrameLayout((2,), kind="blockcausal")  # type: ignore[arg-type]


def test_a_negative_number_of_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="must not be negative"):
        FrameLayout((2, -1))
