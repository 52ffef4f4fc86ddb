"""Few queries over a long cache: every backend gives what the bias says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autogaze.attention import available_backends, flash
from autogaze.attention.registry import BACKENDS, cached_attention
from autogaze.errors import BackendUnavailable, InputError
from tests.attention.layouts import HEAD_DIM, HEADS
from tests.attention.stand_in import PLAIN

RUNNABLE = [name for name, reason in available_backends("cpu", torch.float32).items() if reason is None]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A block of at least two tokens, anywhere in the caches of a batch; their first keys may be hidden."""
    batch, tokens = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    begin, capacity = draw(st.integers(0, 2)), 20
    lengths = [begin + draw(st.integers(tokens, 12)) for _ in range(batch)]
    cached = max(lengths)
    stream = torch.Generator().manual_seed(0)
    query = torch.randn(batch, tokens, HEADS, HEAD_DIM, generator=stream).transpose(1, 2)
    keys, values = torch.randn(2, batch, HEADS, capacity, HEAD_DIM, generator=stream)[:, :, :, :cached]
    last = torch.tensor(lengths)[:, None] - tokens + torch.arange(tokens)  # (batch, tokens)
    place = torch.arange(cached)
    seen = (place <= last[..., None]) & (place >= begin)
    bias = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    shared = len(set(lengths)) == 1 and draw(st.booleans())
    return query, keys, values, bias[0] if shared else bias[:, None]


@pytest.mark.parametrize("backend", RUNNABLE)
@given(block=blocks())
@settings(max_examples=60, deadline=None)
def test_backends_agree(backend: str, block: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    query, keys, values, bias = block
    scores = query @ keys.transpose(-1, -2) * HEAD_DIM**-0.5 + bias
    with torch.no_grad():
        found = cached_attention(backend)(*block)
    torch.testing.assert_close(found, scores.softmax(-1) @ values, atol=1e-5, rtol=1e-5)


@given(block=blocks())
@settings(max_examples=150, deadline=None)
def test_flash_needs_no_bias(block: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    query, keys, values, bias = block
    scores = query @ keys.transpose(-1, -2) * 0.3 + bias
    found = flash.attend_cached_with(PLAIN, query, keys, values, bias, 0.3)
    torch.testing.assert_close(found, scores.softmax(-1) @ values, atol=1e-5, rtol=1e-5)


def test_every_backend_has_this_form_or_says_why_not() -> None:
    q = torch.zeros(1, HEADS, 3, HEAD_DIM)
    for name in BACKENDS:
        if name in RUNNABLE:
            assert cached_attention(name)(q, q, q, torch.zeros(3, 3)).shape == q.shape
        else:
            with pytest.raises(BackendUnavailable, match=f"'{name}' .*use "):
                cached_attention(name)(q, q, q, torch.zeros(3, 3))


def test_an_unknown_backend_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'eager'"):
        cached_attention("eagre")
