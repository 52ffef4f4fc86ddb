"""Causal attention of a whole sequence in one pass, padded tokens included."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from autogaze.attention import FrameLayout, attend
from kernels.decode_step.layers import Attention


def causal_attention(
    tokens_per_frame: tuple[int, ...], padding: Tensor, backend: str, read: Tensor
) -> Attention:
    """Return the attention of a layer in which a token sees itself and the real tokens before it, and a
    padded one the real tokens before it only.

    That is how the released model, whose mask hides padded keys from everyone, comes by the states of padded
    tokens; it predicts from them. To a :class:`~autogaze.attention.FrameLayout` they mean nothing, and its
    backends leave them out or put them last. So those that are read later are added here, a row of scores for
    each: few, and none where nothing is padded.

    ``padding`` (batch, tokens) is True at padded tokens, ``read`` (n,) int64 are the places of the tokens
    whose states are used.
    """
    layout = FrameLayout(tokens_per_frame, padding=padding, kind="causal")

    def of_real_tokens(_: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attend(query, key, value, layout, backend)

    if layout.padded_tokens is None:
        return of_real_tokens
    rows = read[padding[:, read].any(dim=0)]  # padded in any video
    if not len(rows):
        return of_real_tokens
    padded = padding[:, None, rows, None]
    visible = _visible(padding, rows)[:, None]

    def attention(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = of_real_tokens(layer, query, key, value)
        seen = scaled_dot_product_attention(query[:, :, rows], key, value, attn_mask=visible)
        return attended.index_copy(2, rows, torch.where(padded, seen, attended[:, :, rows]))

    return attention


def _visible(padding: Tensor, rows: Tensor) -> Tensor:
    """Return (batch, rows, tokens): the real tokens up to each row; the row itself where there are none, so
    that its output is finite."""
    place = torch.arange(padding.shape[1], device=padding.device)
    visible = (place <= rows[:, None]) & ~padding[:, None]
    return visible | (~visible.any(dim=-1, keepdim=True) & (place == rows[:, None]))
