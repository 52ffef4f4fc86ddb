"""Attention by this project's own Triton kernel: one launch for all videos, frames and masks, no tables, no
padding."""

import importlib.util

import torch
from torch import Tensor

from autogaze.attention.cached import CachedLayout
from autogaze.attention.packed import PackedLayout, seen_by
from autogaze.errors import BackendUnavailable

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_LARGEST_HEAD = 128


def obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Say why the kernel cannot run for a device and a data type, and the cure; None where it can."""
    if importlib.util.find_spec("triton") is None:
        return "needs the package triton, which is not installed; install it, or use 'sdpa'"
    if device.type != "cuda" and not _interpreted():
        return (
            f"runs on CUDA devices, not on {device.type}; use 'sdpa' "
            "(TRITON_INTERPRET=1 runs it anywhere, very slowly, to check it)"
        )
    if dtype not in _DTYPES:
        return f"computes {', '.join(map(_name, _DTYPES))}, not {_name(dtype)}; use 'sdpa'"
    return None


def attend_packed(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Masked softmax attention in a row of tokens; every tensor is (total, heads, head_dim)."""
    from kernels.block_causal_attention.triton import interval_attention

    _check(query, key, value)
    seen = seen_by(layout, query.device)
    apart = seen.apart if layout.class_token and layout.frame_independent else None
    return interval_attention(query, key, value, seen.first, seen.last, apart, scale)


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, layout: CachedLayout, scale: float) -> Tensor:
    """Attention over a cache; see :data:`autogaze.attention.registry.AttendCached`.

    The cache of the layer is copied into a row, since its heads lie apart; the engine ``triton`` has a kernel
    that reads it in place.
    """
    from kernels.block_causal_attention.triton import interval_attention

    _check(query, keys, values)
    batch, heads, tokens, head_dim = query.shape
    bounds = layout.once(
        ("intervals", tokens, keys.shape[2], query.device),
        lambda: _cached_intervals(layout, tokens, keys.shape[2], query.device),
    )
    q, k, v = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, keys, values))
    output = interval_attention(q, k, v, *bounds, scale=scale)
    return output.view(batch, tokens, heads, head_dim).transpose(1, 2)


def _cached_intervals(
    layout: CachedLayout, tokens: int, cached: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return (batch × tokens,) int32: the first key of each query in a row of caches, and the one behind its
    last."""
    first = cached * torch.arange(len(layout.seen), device=device)
    last = (first + layout.seen_on(device))[:, None] - tokens + 1 + torch.arange(tokens, device=device)
    return first.repeat_interleave(tokens).int(), last.flatten().int()


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    if query.shape[-1] > _LARGEST_HEAD:
        raise BackendUnavailable(
            f"attention backend 'triton' takes heads of up to {_LARGEST_HEAD} channels, "
            f"not {query.shape[-1]}; use 'sdpa'"
        )
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value)):
        raise BackendUnavailable(
            "attention backend 'triton' computes no gradients; use 'sdpa' or 'flex', or torch.no_grad()"
        )


def _interpreted() -> bool:
    import triton

    return bool(triton.knobs.runtime.interpret)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
