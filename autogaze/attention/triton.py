"""Attention by this project's own Triton kernel: one launch for all videos, frames and masks, no tables, no
padding."""

import importlib.util

import torch
from torch import Tensor

from autogaze.attention.layout import FrameLayout
from autogaze.attention.packed import Seen, row_of, seen_by
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


def attend(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """Masked softmax attention; every tensor is (batch, heads, length, head_dim)."""
    from kernels.block_causal_attention.triton import interval_attention

    _check(query, key, value)
    row = row_of(layout, query.shape[0], query.device)
    if row.length == 0:
        return row.unpack(row.pack(value), query.shape)
    seen: Seen = layout.once(
        ("intervals", row.length, query.device), lambda: seen_by(row, layout, query.device)
    )
    apart = seen.apart if layout.class_token and layout.frame_independent else None
    output = interval_attention(
        row.pack(query), row.pack(key), row.pack(value), seen.first, seen.last, apart, scale
    )
    return row.unpack(output, query.shape)


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Attention over a cache, as :data:`autogaze.attention.registry.CachedAttend`.

    The kernel takes no bias, but each video's last token tells which keys there are. The cache of the layer
    is copied into a row, since its heads lie apart; the engine ``triton`` has a kernel that reads it in
    place.
    """
    from kernels.block_causal_attention.triton import interval_attention

    _check(query, keys, values)
    batch, heads, tokens, head_dim = query.shape
    cached = keys.shape[2]
    seen = (bias[..., -1, :] == 0).expand(batch, *bias.shape[1:-2], cached).view(batch, cached)
    first = torch.arange(batch, device=query.device) * cached + seen.to(torch.uint8).argmax(dim=1)
    behind = first + seen.sum(dim=1) - tokens + 1
    end = behind[:, None] + torch.arange(tokens, device=query.device)  # (batch, tokens)
    q, k, v = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, keys, values))
    bounds = (first.repeat_interleave(tokens).int(), end.flatten().int())
    output = interval_attention(q, k, v, *bounds, scale=scale)
    return output.view(batch, tokens, heads, head_dim).transpose(1, 2)


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
