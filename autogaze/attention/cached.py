"""Attention of a block of new tokens over a key-value cache: few queries, many keys, a bias for who sees
what."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from autogaze.attention import flash, flex, triton
from autogaze.attention.registry import require_backend
from autogaze.errors import unknown_name

CachedAttend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(query (batch, heads, tokens, head_dim), keys and values (batch, heads, cached, head_dim), bias) to like
query."""


def cached_attention(backend: str) -> CachedAttend:
    """Return the function of ``backend`` that attends over a cache.

    The bias, (tokens, cached) or (batch, 1, tokens, cached), is added to the scaled scores: 0 where a token
    may look and -inf elsewhere. What a token sees is consecutive keys: for all tokens of a block they start
    at the same one, and each token sees one more than the token before it.

    Raises ``InputError`` for an unknown backend; the function raises ``BackendUnavailable`` for a device or
    data type on which the backend cannot run.
    """
    if backend not in _CACHED:
        raise unknown_name("attention backend", backend, _CACHED)
    return _CACHED[backend]


def _eager(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    scores = (query @ keys.transpose(-1, -2)).float() * query.shape[-1] ** -0.5 + bias
    return torch.softmax(scores, dim=-1).to(values.dtype) @ values


def _sdpa(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    return scaled_dot_product_attention(query, keys, values, attn_mask=bias)


def _flex(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    require_backend("flex", query.device, query.dtype)
    return flex.attend_cached(query, keys, values, bias, query.shape[-1] ** -0.5)


def _flash(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    require_backend("flash_attention_2", query.device, query.dtype)
    return flash.attend_cached(query, keys, values, bias, query.shape[-1] ** -0.5)


def _triton(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    require_backend("triton", query.device, query.dtype)
    return triton.attend_cached(query, keys, values, bias, query.shape[-1] ** -0.5)


_CACHED: dict[str, CachedAttend] = {
    "eager": _eager,
    "sdpa": _sdpa,
    "flex": _flex,
    "flash_attention_2": _flash,
    "triton": _triton,
}
