"""Few queries over a long cache: every backend sees what the layout says, and biases are aligned windows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autogaze.attention import CachedLayout, available_backends, flash, require_backend, sdpa
from autogaze.attention.cached import Staircase
from autogaze.attention.eager import masked_softmax_attention
from autogaze.attention.registry import BACKENDS
from autogaze.errors import BackendUnavailable
from tests.attention.layouts import HEAD_DIM, HEADS
from tests.attention.stand_in import PLAIN

RUNNABLE = [name for name, reason in available_backends("cpu", torch.float32).items() if reason is None]
CAPACITY, BLOCK = 20, 6


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, CachedLayout]:
    """A block of tokens, anywhere in the caches of a batch."""
    batch, tokens = draw(st.integers(1, 3)), draw(st.integers(1, BLOCK))
    lengths = st.integers(tokens, CAPACITY)
    seen = draw(
        st.one_of(st.lists(lengths, min_size=batch, max_size=batch), lengths.map(lambda n: [n] * batch))
    )
    stream = torch.Generator().manual_seed(0)
    query = torch.randn(batch, tokens, HEADS, HEAD_DIM, generator=stream).transpose(1, 2)
    cache = torch.randn(2, batch, HEADS, CAPACITY, HEAD_DIM, generator=stream)
    keys, values = cache[:, :, :, : max(seen)]
    staircase = draw(st.sampled_from([None, Staircase(CAPACITY, BLOCK)]))
    return query, keys, values, CachedLayout(tuple(seen), staircase)


def visible(query: Tensor, keys: Tensor, layout: CachedLayout) -> Tensor:
    """(batch, 1, tokens, cached) bool, read off the layout one by one."""
    tokens, cached = query.shape[2], keys.shape[2]
    return torch.tensor(
        [
            [[[key <= seen - tokens + token for key in range(cached)] for token in range(tokens)]]
            for seen in layout.seen
        ]
    )


@pytest.mark.parametrize("backend", RUNNABLE)
@given(block=blocks())
@settings(max_examples=60, deadline=None)
def test_backends_agree(backend: str, block: tuple[Tensor, Tensor, Tensor, CachedLayout]) -> None:
    query, keys, values, layout = block
    expected = masked_softmax_attention(query, keys, values, visible(query, keys, layout), 0.3)
    with torch.no_grad():
        found = BACKENDS[backend].attend_cached(*block, 0.3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@given(block=blocks())
@settings(max_examples=150, deadline=None)
def test_flash_kernels_of_a_gpu_need_no_bias(block: tuple[Tensor, Tensor, Tensor, CachedLayout]) -> None:
    query, keys, values, layout = block
    expected = masked_softmax_attention(query, keys, values, visible(query, keys, layout), 0.3)
    found = flash.attend_cached_with(PLAIN, query, keys, values, layout, 0.3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_backend_has_this_form_or_says_why_not() -> None:
    q = torch.zeros(1, HEADS, 3, HEAD_DIM)
    for name in BACKENDS:
        if name in RUNNABLE:
            backend = require_backend(name, q.device, q.dtype)
            assert backend.attend_cached(q, q, q, CachedLayout((3,)), 1.0).shape == q.shape
        else:
            with pytest.raises(BackendUnavailable, match=f"'{name}' .*use "):
                require_backend(name, q.device, q.dtype)


@given(block=blocks())
@settings(max_examples=150, deadline=None)
def test_a_bias_hides_what_is_not_seen_and_nothing_else(
    block: tuple[Tensor, Tensor, Tensor, CachedLayout],
) -> None:
    query, keys, _, layout = block
    bias, seen = layout.bias(query, keys), visible(query, keys, layout)
    if bias is None:
        assert seen.all()
    else:
        assert torch.equal(bias.expand(seen.shape), torch.zeros(seen.shape).masked_fill(~seen, -torch.inf))


@given(block=blocks())
@settings(max_examples=100, deadline=None)
def test_the_last_tokens_of_a_block_see_what_they_see_in_the_block(
    block: tuple[Tensor, Tensor, Tensor, CachedLayout],
) -> None:
    query, keys, _, layout = block
    tokens = query.shape[2]
    for count in (max(tokens - 1, 1), tokens, 1):
        last = query[:, :, tokens - count :]
        bias, seen = layout.bias(last, keys), visible(last, keys, layout)
        found = torch.ones_like(seen) if bias is None else (bias == 0).expand(seen.shape)
        assert torch.equal(found, seen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("tokens", [1, 3, 10])
def test_biases_of_every_length_begin_at_sixteen_bytes_and_are_not_copied(
    tokens: int, dtype: torch.dtype
) -> None:
    """For torch a stride must be a multiple of eight elements, or it copies the bias at each call."""
    capacity = 61
    staircase = Staircase(capacity, 10)
    query, keys = (torch.zeros(1, 1, n, 1, dtype=dtype) for n in (tokens, capacity))
    table: set[int] = set()
    for length in range(tokens, capacity + 1):
        for seen in ((length,), (length, tokens)):
            bias = CachedLayout(seen, staircase).bias(query, keys[:, :, :length])
            if bias is None:
                continue
            assert bias.data_ptr() % 16 == 0, (seen, bias.storage_offset())
            assert bias.stride(-1) == 1
            assert all(stride % 8 == 0 for stride in bias.stride()[:-1]), (seen, bias.stride())
            if len(set(seen)) == 1:
                table.add(bias.untyped_storage().data_ptr())
    assert len(table) == (tokens > 1)  # windows of one table; the last token alone needs none


@pytest.mark.parametrize("keys", range(1, 40))
def test_masks_of_padded_keys_begin_at_sixteen_bytes_too(keys: int) -> None:
    mask = sdpa._key_mask(torch.arange(2 * keys).view(2, keys) % 3 == 1, torch.float32)
    assert mask.shape == (2, 1, 1, keys)
    assert mask[1].data_ptr() % 16 == mask.data_ptr() % 16 == 0
    assert all(stride % 8 == 0 for stride in mask.stride()[:-1])


def test_a_table_made_in_inference_mode_serves_training_too() -> None:
    staircase = Staircase(CAPACITY, BLOCK)
    query, keys = torch.randn(1, 1, 3, 4, requires_grad=True), torch.randn(1, 1, 9, 4)
    with torch.inference_mode():
        sdpa.attend_cached(query, keys, keys, CachedLayout((9,), staircase), 1.0)
    sdpa.attend_cached(query, keys, keys, CachedLayout((9,), staircase), 1.0).sum().backward()
    assert query.grad is not None


def test_another_number_format_gets_a_table_of_its_own() -> None:
    staircase, keys = Staircase(CAPACITY, BLOCK), torch.zeros(1, 1, 9, 4)
    for dtype in (torch.float32, torch.bfloat16):
        bias = CachedLayout((9,), staircase).bias(torch.zeros(1, 1, 3, 4, dtype=dtype), keys)
        assert bias is not None
        assert bias.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_cudnn_plans_no_kernels_for_the_lengths_of_a_cache(dtype: torch.dtype) -> None:
    switches = torch.backends.cuda
    before = switches.cudnn_sdp_enabled()
    with sdpa.kernels_without_plans(torch.device("cuda"), dtype):
        assert not switches.cudnn_sdp_enabled()
        assert switches.flash_sdp_enabled()
        assert switches.mem_efficient_sdp_enabled()
        assert switches.math_sdp_enabled()
    assert switches.cudnn_sdp_enabled() == before


def test_elsewhere_the_choice_of_kernels_is_left_as_it_is() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    for device, dtype in (("cpu", torch.bfloat16), ("cuda", torch.float32)):
        with sdpa.kernels_without_plans(torch.device(device), dtype):
            assert torch.backends.cuda.cudnn_sdp_enabled() == before
