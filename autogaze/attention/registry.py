"""The attention backends by name, and the one function through which all attention runs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from autogaze.attention import eager, flash, flex, sdpa, triton
from autogaze.attention.layout import FrameLayout
from autogaze.attention.packed import PackedLayout
from autogaze.errors import BackendUnavailable, InputError, unknown_name

Attend = Callable[[Tensor, Tensor, Tensor, FrameLayout, float], Tensor]


@dataclass(frozen=True)
class Backend:
    """One way to compute attention: to add one, write a module with ``attend`` and a line in ``BACKENDS``."""

    attend: Attend
    obstacle: Callable[[torch.device, torch.dtype], str | None]
    """Says why the backend cannot run for a device and a data type, and the cure; None where it can."""


def _nothing(device: torch.device, dtype: torch.dtype) -> None:
    return None


BACKENDS: dict[str, Backend] = {
    "eager": Backend(eager.attend, _nothing),
    "sdpa": Backend(sdpa.attend, _nothing),
    "flash_attention_2": Backend(flash.attend, flash.obstacle),
    "flex": Backend(flex.attend, flex.obstacle),
    "triton": Backend(triton.attend, triton.obstacle),
}


def available_backends(device: torch.device | str, dtype: torch.dtype) -> dict[str, str | None]:
    """Return every known backend with None where it can run here, else the reason and the cure."""
    return {name: backend.obstacle(torch.device(device), dtype) for name, backend in BACKENDS.items()}


def require_backend(name: str, device: torch.device | str, dtype: torch.dtype) -> Attend:
    """Return the function of a backend.

    Raises ``InputError`` for an unknown name and ``BackendUnavailable`` for one that cannot run here.
    """
    if name not in BACKENDS:
        raise unknown_name("attention backend", name, BACKENDS)
    backend = BACKENDS[name]
    obstacle = backend.obstacle(torch.device(device), dtype)
    if obstacle is not None:
        raise BackendUnavailable(f"attention backend '{name}' {obstacle}")
    return backend.attend


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: FrameLayout,
    backend: str = "sdpa",
    scale: float | None = None,
) -> Tensor:
    """Return masked softmax attention, (batch, heads, length, head_dim) like each of its inputs.

    ``layout`` says who sees whom; ``scale`` multiplies the scores and is ``head_dim ** -0.5`` by default. The
    output at padded tokens is finite and means nothing.

    Raises ``InputError`` where layout and tensors do not fit together, ``BackendUnavailable`` as
    :func:`require_backend` does.
    """
    run = require_backend(backend, query.device, query.dtype)
    _check(query, key, value, layout)
    if query.numel() == 0:
        return torch.empty_like(query)
    return run(query, key, value, layout, query.shape[-1] ** -0.5 if scale is None else scale)


def attend_packed(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, backend: str) -> Tensor:
    """Return masked softmax attention in a row of videos, (total, heads, head_dim) as its inputs are."""
    outputs = [
        attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), part, backend)
        for (part, _), q, k, v in zip(
            layout.runs, *(layout.split_runs(rows) for rows in (query, key, value)), strict=True
        )
    ]
    return torch.cat([output.transpose(1, 2).flatten(0, 1) for output in outputs])


def _check(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout) -> None:
    shape = tuple(query.shape)
    if len(shape) != 4 or key.shape != query.shape or value.shape != query.shape:
        raise InputError(
            f"query {shape}, key {tuple(key.shape)} and value {tuple(value.shape)} must share one shape, "
            "(batch, heads, length, head_dim)"
        )
    if shape[2] != layout.length:
        raise InputError(
            f"the layout holds {layout.length} tokens ({sum(layout.tokens_per_frame)} in "
            f"{len(layout.tokens_per_frame)} frames, class token: {'yes' if layout.class_token else 'no'}), "
            f"but query, key and value hold {shape[2]}"
        )
    if layout.padding is not None and layout.padding.shape[0] != shape[0]:
        raise InputError(
            f"the layout's padding is for a batch of {layout.padding.shape[0]}, the tensors hold {shape[0]}"
        )


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
