"""Attention by torch's ``scaled_dot_product_attention``, without ever building a dense mask.

``block_causal``: the queries of a frame see exactly a prefix of the keys, so each frame is one call without a
mask and nothing is computed only to be masked out: for long clips half of the work of a dense mask, and torch
stays free to choose its flash kernels. Where a prefix holds padding, its keys get a (batch, 1, 1, prefix)
mask.

``causal``: with the padded tokens moved behind all real ones, plain causality already keeps them out of
sight.

Training in bfloat16 on a CPU is the exception: there :mod:`autogaze.attention.cpu_bf16` is twice as fast as
torch's kernel.

Over a cache, cuDNN is left out on a GPU. From torch 2.11 on it comes first for half precision on Hopper, and
it plans anew for every shape, which takes tens of milliseconds: every step of a clip has another length.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from autogaze.attention import cpu_bf16
from autogaze.attention.cached import CachedLayout, additive
from autogaze.attention.layout import FrameLayout


def attend(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """Masked softmax attention; every tensor is (batch, heads, length, head_dim)."""
    if cpu_bf16.pays(query, layout):
        return cpu_bf16.attend(query, key, value, layout, scale)
    if layout.kind == "causal":
        return _causal(query, key, value, layout, scale)
    if layout.kind == "bidirectional" and not layout.frame_independent:
        mask = _key_masks(layout, [slice(0, layout.length)], query.dtype)[0]
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return _frame_by_frame(query, key, value, layout, scale)


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, layout: CachedLayout, scale: float) -> Tensor:
    """Attention over a cache; see :data:`autogaze.attention.registry.AttendCached`."""
    with kernels_without_plans(query.device, query.dtype):
        return scaled_dot_product_attention(
            query, keys, values, attn_mask=layout.bias(query, keys), scale=scale
        )


_WITHOUT_PLANS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def kernels_without_plans(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Leave torch's kernels the choice, but for cuDNN's where they would come first: in half precision on a
    GPU."""
    if device.type == "cuda" and dtype in (torch.float16, torch.bfloat16):
        return sdpa_kernel(_WITHOUT_PLANS, set_priority=True)
    return nullcontext()


def _frame_by_frame(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """Each frame against what it sees: all up to its end, or only itself and the class token."""
    spans = [(start, end) for start, end in layout.spans if start < end]
    seen = [slice(start if layout.frame_independent else 0, end) for start, end in spans]
    masks = _key_masks(layout, seen, query.dtype)
    apart = layout.frame_independent and layout.class_token
    # One key to see means that its value is the answer.
    outputs = [value[:, :, :1]] if layout.class_token else []
    for (start, end), keys, mask in zip(spans, seen, masks, strict=True):
        k, v = key[:, :, keys], value[:, :, keys]
        if apart:
            k, v = torch.cat([key[:, :, :1], k], dim=2), torch.cat([value[:, :, :1], v], dim=2)
        outputs.append(
            scaled_dot_product_attention(query[:, :, start:end], k, v, attn_mask=mask, scale=scale)
        )
    return _join(outputs)


def _causal(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    order = layout.once("sdpa order", lambda: _real_first(layout))
    if order is not None:
        query, key, value = (_take(tensor, order[0]) for tensor in (query, key, value))
    if not layout.frame_independent:
        output = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
    else:
        outputs = [value[:, :, :1]] if layout.class_token else []
        for start, end in layout.spans:
            if start == end:
                continue
            q, k, v = (tensor[:, :, start:end] for tensor in (query, key, value))
            if layout.class_token:
                q, k, v = (torch.cat([x[:, :, :1], y], dim=2) for x, y in ((query, q), (key, k), (value, v)))
            frame = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
            outputs.append(frame[:, :, int(layout.class_token) :])
        output = _join(outputs)
    return output if order is None else _take(output, order[1])


def _key_masks(layout: FrameLayout, seen: list[slice], dtype: torch.dtype) -> list[Tensor | None]:
    """Return for each span of keys a (B, 1, 1, keys) mask to add to the scores; None without padding."""
    padded = layout.padded_tokens
    if padded is None:
        return [None] * len(seen)

    def build() -> list[Tensor | None]:
        first = [slice(0, 1)] if layout.class_token and layout.frame_independent else []
        spans = [torch.cat([padded[:, s] for s in (*first, keys)], dim=1) for keys in seen]
        needed = torch.stack([span.any() for span in spans]).tolist()
        return [
            _key_mask(span, dtype) if any_padded else None
            for span, any_padded in zip(spans, needed, strict=True)
        ]

    return layout.once(("sdpa masks", dtype), build)


def _key_mask(padded: Tensor, dtype: torch.dtype) -> Tensor:
    # Where a video has no real key at all, only padded queries look, and their output must just be finite.
    hidden = padded & ~padded.all(dim=1, keepdim=True)
    return additive(hidden[:, None, None], dtype)


def _real_first(layout: FrameLayout) -> tuple[Tensor, Tensor] | None:
    """Return (B, N) int64 orders, there and back, that put padded tokens behind the real ones."""
    padded = layout.padded_tokens
    if padded is None:
        return None
    rank = padded.long()
    if layout.frame_independent:
        rank = rank + 2 * layout.frame_of_token(padded.device)
    there = rank.argsort(dim=1, stable=True)
    return there, there.argsort(dim=1)


def _take(tensor: Tensor, order: Tensor) -> Tensor:
    return tensor.gather(2, order[:, None, :, None].expand(-1, tensor.shape[1], -1, tensor.shape[3]))


def _join(outputs: list[Tensor]) -> Tensor:
    """Concatenate along the length, laid out so that merging the heads afterwards copies nothing."""
    return torch.cat([output.transpose(1, 2) for output in outputs], dim=1).transpose(1, 2)
