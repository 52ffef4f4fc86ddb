"""The definition of attention: a dense mask and a softmax in single precision. All others must equal it."""

import torch
from torch import Tensor

from autogaze.attention.cached import CachedLayout
from autogaze.attention.layout import FrameLayout


def visibility(layout: FrameLayout, device: torch.device, rows: Tensor | None = None) -> Tensor:
    """Return (B or 1, 1, rows, N) bool: True where the query (row) may see the key (column).

    ``rows`` are the queries asked about, int64; None for all of them.
    """
    place = torch.arange(layout.length, device=device)
    frame = layout.frame_of_token(device)
    query = place if rows is None else rows
    query_frame, key_frame = frame[query][:, None], frame[None, :]
    if layout.kind == "block_causal":
        visible = query_frame >= key_frame
    elif layout.kind == "causal":
        visible = query[:, None] >= place[None, :]
    else:
        visible = torch.ones(len(query), layout.length, dtype=torch.bool, device=device)
    if layout.frame_independent:
        visible = visible & ((query_frame == key_frame) | (key_frame == -1))
    visible = visible[None, None]
    if layout.padded_tokens is not None:
        itself = query[:, None] == place[None, :]
        visible = visible & (~layout.padded_tokens[:, None, None, :] | itself)
    return visible


def attend(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """Masked softmax attention; every tensor is (batch, heads, length, head_dim)."""
    visible = layout.once(("eager", query.device), lambda: visibility(layout, query.device))
    return masked_softmax_attention(query, key, value, visible, scale)


def attend_rows(
    query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float, rows: Tensor
) -> Tensor:
    """Return the rows ``rows`` of :func:`attend`, for sequences whose whole score matrix is out of reach."""
    visible = visibility(layout, query.device, rows)
    return masked_softmax_attention(query[:, :, rows], key, value, visible, scale)


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, layout: CachedLayout, scale: float) -> Tensor:
    """Attention over a cache; see :data:`autogaze.attention.registry.AttendCached`."""
    scores, bias = (query @ keys.transpose(-1, -2)).float() * scale, layout.bias(query, keys)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1).to(values.dtype) @ values


def masked_softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float
) -> Tensor:
    """Softmax attention of every query over the keys where ``visible``, at least in single precision."""
    precise = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(precise) @ key.to(precise).transpose(-2, -1) * scale  # (batch, heads, rows, length)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
    return (weights @ value.to(precise)).to(query.dtype)
