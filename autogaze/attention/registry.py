"""The attention backends by name, and the functions through which all attention runs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from autogaze.attention import eager, flash, flex, sdpa, triton
from autogaze.attention.cached import CachedLayout
from autogaze.attention.layout import FrameLayout
from autogaze.attention.packed import Attend, AttendPacked, PackedLayout, by_rows, by_runs
from autogaze.errors import BackendUnavailable, InputError, unknown_name

AttendCached = Callable[[Tensor, Tensor, Tensor, CachedLayout, float], Tensor]
"""(query (batch, heads, tokens, head_dim), keys and values (batch, heads, cached, head_dim), layout, scale)
to like query. The cache ends with the last key that any video sees."""


@dataclass(frozen=True)
class Backend:
    """One way to compute attention: to add one, write a module and a line in :data:`BACKENDS`."""

    attend: Attend
    attend_packed: AttendPacked
    attend_cached: AttendCached
    obstacle: Callable[[torch.device, torch.dtype], str | None]
    """Says why the backend cannot run for a device and a data type, and the cure; None where it can."""

    remark: Callable[[torch.device, str, bool], str | None] = lambda device, kind, frame_independent: None
    """Says what a reader of times should know of a mask, ``kind`` and whether frames are independent, on a
    device."""


def _nothing(device: torch.device, dtype: torch.dtype) -> None:
    return None


BACKENDS: dict[str, Backend] = {
    "eager": Backend(eager.attend, by_runs(eager.attend), eager.attend_cached, _nothing),
    "sdpa": Backend(sdpa.attend, by_runs(sdpa.attend), sdpa.attend_cached, _nothing),
    "flash_attention_2": Backend(
        by_rows(flash.attend_packed), flash.attend_packed, flash.attend_cached, flash.obstacle, flash.remark
    ),
    "flex": Backend(by_rows(flex.attend_packed), flex.attend_packed, flex.attend_cached, flex.obstacle),
    "triton": Backend(
        by_rows(triton.attend_packed), triton.attend_packed, triton.attend_cached, triton.obstacle
    ),
}


def available_backends(device: torch.device | str, dtype: torch.dtype) -> dict[str, str | None]:
    """Return every known backend with None where it can run here, else the reason and the cure."""
    return {name: backend.obstacle(torch.device(device), dtype) for name, backend in BACKENDS.items()}


def require_backend(name: str, device: torch.device | str, dtype: torch.dtype) -> Backend:
    """Return a backend that can run for a device and a data type.

    Raises ``InputError`` for an unknown name and ``BackendUnavailable`` for one that cannot run here.
    """
    if name not in BACKENDS:
        raise unknown_name("attention backend", name, BACKENDS)
    backend = BACKENDS[name]
    obstacle = backend.obstacle(torch.device(device), dtype)
    if obstacle is not None:
        raise BackendUnavailable(f"attention backend '{name}' {obstacle}")
    return backend


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
    run = require_backend(backend, query.device, query.dtype).attend
    _check_shapes(query, key, value, ("batch", "heads", "length", "head_dim"))
    _check(query, layout)
    if query.numel() == 0:
        return torch.empty_like(query)
    return run(query, key, value, layout, query.shape[-1] ** -0.5 if scale is None else scale)


def attend_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: PackedLayout,
    backend: str = "sdpa",
    scale: float | None = None,
) -> Tensor:
    """Return masked softmax attention in a row of videos, (total, heads, head_dim) like each of its inputs.

    ``layout``, ``scale`` and errors are as in :func:`attend`.
    """
    run = require_backend(backend, query.device, query.dtype).attend_packed
    _check_shapes(query, key, value, ("total", "heads", "head_dim"))
    if len(query) != layout.length:
        raise InputError(
            f"the layout holds {layout.length} tokens of {len(layout.lengths)} videos, but query, key and "
            f"value hold {len(query)}"
        )
    if query.numel() == 0:
        return torch.empty_like(query)
    return run(query, key, value, layout, query.shape[-1] ** -0.5 if scale is None else scale)


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, dimensions: tuple[str, ...]) -> None:
    shape = tuple(query.shape)
    if len(shape) != len(dimensions) or key.shape != query.shape or value.shape != query.shape:
        raise InputError(
            f"query {shape}, key {tuple(key.shape)} and value {tuple(value.shape)} must share one shape, "
            f"({', '.join(dimensions)})"
        )


def _check(query: Tensor, layout: FrameLayout) -> None:
    batch, _, length, _ = query.shape
    if length != layout.length:
        raise InputError(
            f"the layout holds {layout.length} tokens ({sum(layout.tokens_per_frame)} in "
            f"{len(layout.tokens_per_frame)} frames, class token: {'yes' if layout.class_token else 'no'}), "
            f"but query, key and value hold {length}"
        )
    if layout.padding is not None and layout.padding.shape[0] != batch:
        raise InputError(
            f"the layout's padding is for a batch of {layout.padding.shape[0]}, the tensors hold {batch}"
        )
