"""The definition of attention: a dense mask and a softmax in single precision. All others must equal it."""

import torch
from torch import Tensor

from autogaze.attention.layout import FrameLayout


def visibility(layout: FrameLayout, device: torch.device) -> Tensor:
    """Return (B or 1, 1, N, N) bool: True where the query (row) may see the key (column)."""
    place = torch.arange(layout.length, device=device)
    frame = layout.frame_of_token(device)
    query_frame, key_frame = frame[:, None], frame[None, :]
    if layout.kind == "block_causal":
        visible = query_frame >= key_frame
    elif layout.kind == "causal":
        visible = place[:, None] >= place[None, :]
    else:
        visible = torch.ones(layout.length, layout.length, dtype=torch.bool, device=device)
    if layout.frame_independent:
        visible = visible & ((query_frame == key_frame) | (key_frame == -1))
    visible = visible[None, None]
    if layout.padded_tokens is not None:
        itself = place[:, None] == place[None, :]
        visible = visible & (~layout.padded_tokens[:, None, None, :] | itself)
    return visible


def attend(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """Masked softmax attention; every tensor is (batch, heads, length, head_dim)."""
    visible = layout.once(("eager", query.device), lambda: visibility(layout, query.device))
    precise = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(precise) @ key.to(precise).transpose(-2, -1) * scale  # (batch, heads, length, length)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
    return (weights @ value.to(precise)).to(query.dtype)
