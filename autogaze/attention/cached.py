"""Attention of a block of new tokens over a key-value cache: few queries, many keys, a bias for who sees
what."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from autogaze.attention.registry import BACKENDS
from autogaze.errors import BackendUnavailable, unknown_name

CachedAttend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(query (batch, heads, tokens, head_dim), keys and values (batch, heads, cached, head_dim), bias) to like
query."""


def cached_attention(backend: str) -> CachedAttend:
    """Return the function of ``backend`` that attends over a cache.

    The bias, (tokens, cached) or (batch, 1, tokens, cached), is added to the scaled scores: 0 where a token
    may look and -inf elsewhere. Raises ``InputError`` for an unknown backend, ``BackendUnavailable`` for one
    without this form.
    """
    if backend not in BACKENDS:
        raise unknown_name("attention backend", backend, BACKENDS)
    if backend not in _CACHED:
        raise BackendUnavailable(
            f"attention backend '{backend}' cannot attend over a key-value cache; use {' or '.join(_CACHED)}"
        )
    return _CACHED[backend]


def _eager(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    scores = (query @ keys.transpose(-1, -2)).float() * query.shape[-1] ** -0.5 + bias
    return torch.softmax(scores, dim=-1).to(values.dtype) @ values


def _sdpa(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    return scaled_dot_product_attention(query, keys, values, attn_mask=bias)


_CACHED: dict[str, CachedAttend] = {"eager": _eager, "sdpa": _sdpa}
