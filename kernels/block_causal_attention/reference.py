"""Attention in which every query sees one interval of keys: the definition."""

import torch
from torch import Tensor


def interval_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    first: Tensor,
    end: Tensor,
    class_key: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Return softmax attention over packed tokens, each query seeing the keys ``first`` to ``end``.

    ``query``, ``key`` and ``value`` are (tokens, heads, head_dim), the tokens of all videos in a row;
    ``first`` and ``end`` (tokens,) int32 are the half-open interval of keys that each query sees.
    ``class_key`` (tokens,) int32 is one key more that it sees if that lies before its interval, -1 for none.
    A query that sees nothing yields zeros.

    Every mask over frames is such a choice of intervals: causal ends at the query, block-causal at the end of
    its frame, bidirectional at the end of its video, and frame-independent masks begin with the frame.
    """
    place = torch.arange(key.shape[0], device=key.device)
    visible = (place >= first[:, None]) & (place < end[:, None])  # (queries, keys)
    if class_key is not None:
        visible |= (place == class_key[:, None]) & (class_key < first)[:, None]
    scores = torch.einsum("qhd,khd->hqk", query.float(), key.float()) * (scale or query.shape[-1] ** -0.5)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1).nan_to_num(0.0)
    return torch.einsum("hqk,khd->qhd", weights, value.float()).to(query.dtype)
