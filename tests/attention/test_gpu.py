"""On a GPU: every backend that can run agrees with the definition and runs its own kernel."""

from functools import partial

import pytest
import torch
from torch import Tensor

from autogaze.attention import (
    CachedLayout,
    FrameLayout,
    PackedLayout,
    attend,
    attend_packed,
    available_backends,
    eager,
    kernels_that_ran,
    require_backend,
    sdpa,
)
from autogaze.attention.cached import Staircase
from autogaze.attention.flash import find_kernel
from autogaze.errors import BackendUnavailable
from tests.attention.layouts import assert_real_tokens_agree

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DTYPES = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}
BACKENDS = ["sdpa", "flex", "flash_attention_2", "triton"]
KINDS = ["block_causal", "causal", "bidirectional"]


def tensors(layout: FrameLayout, batch: int, dtype: torch.dtype, head_dim: int = 64) -> tuple[Tensor, ...]:
    stream = torch.Generator().manual_seed(0)
    shape = (3, batch, layout.length, 4, head_dim)
    return torch.randn(shape, generator=stream).to("cuda", dtype).transpose(2, 3).unbind()


def layout_of(kind: str, independent: bool, padded: bool) -> FrameLayout:
    tokens = (70, 0, 200, 33)
    padding = torch.rand(3, sum(tokens), generator=torch.Generator().manual_seed(1)) < 0.4
    return FrameLayout(tokens, padding.cuda() if padded else None, kind, independent, class_token=True)  # type: ignore[arg-type]


def skip_unless_runnable(backend: str, dtype: torch.dtype) -> None:
    reason = available_backends("cuda", dtype)[backend]
    if reason is not None:
        pytest.skip(f"{backend} {reason}")


@pytest.mark.parametrize("padded", [False, True], ids=["unpadded", "padded"])
@pytest.mark.parametrize("independent", [False, True], ids=["", "frame_independent"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_agrees_with_the_definition(
    backend: str, dtype: torch.dtype, kind: str, independent: bool, padded: bool
) -> None:
    skip_unless_runnable(backend, dtype)
    layout = layout_of(kind, independent, padded)
    q, k, v = tensors(layout, 3, dtype)
    with torch.inference_mode():
        found, expected = attend(q, k, v, layout, backend), attend(q, k, v, layout, "eager")
    assert found.isfinite().all()
    assert_real_tokens_agree(found, expected, layout, DTYPES[dtype])


@pytest.mark.parametrize("independent", [False, True], ids=["", "frame_independent"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["flex", "flash_attention_2"])
def test_gradients_agree_with_the_definition(backend: str, kind: str, independent: bool) -> None:
    skip_unless_runnable(backend, torch.bfloat16)
    layout = layout_of(kind, independent, padded=True)
    if (backend, kind, independent) == ("flash_attention_2", "block_causal", False):
        with pytest.raises(BackendUnavailable, match="no gradients under a block-causal mask"):
            attend(*(x.requires_grad_() for x in tensors(layout, 3, torch.bfloat16)), layout, backend)
        return
    assert layout.padded_tokens is not None
    keep = ~layout.padded_tokens[:, None, :, None]
    gradients = []
    for name in (backend, "eager"):
        q, k, v = (x.clone().requires_grad_() for x in tensors(layout, 3, torch.bfloat16))
        torch.autograd.backward((attend(q, k, v, layout, name) * keep).float().square().sum())
        gradients.append([q.grad, k.grad, v.grad])
    for found, expected in zip(*gradients, strict=True):
        assert found is not None
        assert expected is not None
        torch.testing.assert_close(found * keep, expected * keep, atol=6e-2, rtol=6e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_flash_gives_a_video_in_a_batch_bit_for_bit_what_it_gets_alone(kind: str) -> None:
    skip_unless_runnable("flash_attention_2", torch.bfloat16)
    layout = layout_of(kind, independent=False, padded=True)
    assert layout.padding is not None
    q, k, v = tensors(layout, 3, torch.bfloat16)
    together = attend(q, k, v, layout, "flash_attention_2")
    for video in range(3):
        part = slice(video, video + 1)
        one = FrameLayout(layout.tokens_per_frame, layout.padding[part], layout.kind, class_token=True)
        assert torch.equal(together[part], attend(q[part], k[part], v[part], one, "flash_attention_2"))


@pytest.mark.parametrize("independent", [False, True], ids=["", "frame_independent"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_of_videos_agrees_with_the_definition(backend: str, kind: str, independent: bool) -> None:
    skip_unless_runnable(backend, torch.bfloat16)
    videos = ((70, 0, 200, 33), (9, 150, 1, 20), (9, 150, 1, 20))
    layout = PackedLayout(videos, kind, independent, class_token=True)  # type: ignore[arg-type]
    stream = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, layout.length, 4, 64, generator=stream).to("cuda", torch.bfloat16).unbind()
    with torch.inference_mode():
        found, expected = (attend_packed(q, k, v, layout, name) for name in (backend, "eager"))
    torch.testing.assert_close(found, expected, atol=3e-2, rtol=3e-2)


def cached(seen: tuple[int, ...], tokens: int, dtype: torch.dtype, capacity: int) -> tuple[Tensor, ...]:
    """A block of queries, and the keys and values of a cache up to it."""
    q = torch.randn(len(seen), tokens, 4, 32, device="cuda").to(dtype).transpose(1, 2)
    k, v = torch.randn(2, len(seen), 4, capacity, 32, device="cuda").to(dtype)[:, :, :, : max(seen)]
    return q, k, v


@pytest.mark.parametrize("seen", [(230,), (230, 190, 206)], ids=["one video", "a batch"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_attention_over_a_cache_agrees(backend: str, seen: tuple[int, ...]) -> None:
    skip_unless_runnable(backend, torch.bfloat16)
    q, k, v = cached(seen, 10, torch.bfloat16, 300)
    with torch.inference_mode():
        found = require_backend(backend, q.device, q.dtype).attend_cached(q, k, v, CachedLayout(seen), 0.3)
        wide = (tensor.float() for tensor in (q, k, v))
        expected = eager.attend_cached(*wide, CachedLayout(seen), 0.3)
    torch.testing.assert_close(found.float(), expected, atol=3e-2, rtol=3e-2)


@pytest.mark.parametrize("capacity", [64, 61], ids=["aligned", "odd"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_torch_reads_the_bias_of_every_length(dtype: torch.dtype, capacity: int) -> None:
    staircase = Staircase(capacity, 10)
    for length in range(10, capacity + 1):
        for seen in ((length,), (length, 10)):
            q, k, v = cached(seen, 10, dtype, capacity)
            with torch.inference_mode():
                found = sdpa.attend_cached(q, k, v, CachedLayout(seen, staircase), 0.3)
                wide = (tensor.float() for tensor in (q, k, v))
                expected = eager.attend_cached(*wide, CachedLayout(seen), 0.3)
            torch.cuda.synchronize()
            torch.testing.assert_close(found.float(), expected, atol=DTYPES[dtype], rtol=DTYPES[dtype])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_cudnn_plans_nothing_while_a_cache_grows(dtype: torch.dtype) -> None:
    staircase, ran = Staircase(64, 10), set()
    for seen in range(20, 30):
        q, k, v = cached((seen,), 10, dtype, 64)
        layout = CachedLayout((seen,), staircase)
        ran |= set(kernels_that_ran(partial(sdpa.attend_cached, q, k, v, layout, 0.3)))
    assert "aten::_scaled_dot_product_efficient_attention" in ran
    assert not [name for name in ran if "cudnn" in name]


@pytest.mark.parametrize(("backend", "kernel"), [("flash_attention_2", "flash_fwd"), ("flex", "triton")])
def test_each_backend_runs_its_own_kernel(backend: str, kernel: str) -> None:
    skip_unless_runnable(backend, torch.bfloat16)
    layout = layout_of("block_causal", independent=False, padded=False)
    q, k, v = tensors(layout, 3, torch.bfloat16)
    with torch.inference_mode():
        ran = kernels_that_ran(lambda: attend(q, k, v, layout, backend))
    assert any(kernel in name for name in ran), ran


def test_peak_memory_is_a_tenth_of_a_dense_mask_at_most() -> None:
    layout = FrameLayout((265,) * 16)
    dense_mask = 16 * layout.length**2 * 4
    for backend in BACKENDS:
        if available_backends("cuda", torch.bfloat16)[backend] is not None:
            continue
        shape = (3, 1, layout.length, 16, 64)
        q, k, v = torch.randn(shape, device="cuda", dtype=torch.bfloat16).transpose(2, 3).unbind()
        with torch.inference_mode():
            attend(q, k, v, layout, backend)
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            attend(q, k, v, layout, backend)
        assert torch.cuda.max_memory_allocated() - before <= dense_mask / 10, backend


def test_the_kernel_found_is_named() -> None:
    assert find_kernel("cuda").name.split(".")[0] in ("flash_attn", "torch")
