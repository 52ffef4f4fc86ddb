"""``python -m autogaze.attention [DEVICE]``: which backend runs which mask, and how far from the definition.

One line for each backend, mask and data type, on ragged frames with padding and a class token, and one for a
few tokens over a cache: the largest difference, and the kernels that ran; or why the backend cannot run.
"""

import sys
from collections.abc import Iterator
from typing import get_args

import torch

from autogaze.attention.cached import CachedLayout
from autogaze.attention.eager import attend as definition
from autogaze.attention.eager import masked_softmax_attention
from autogaze.attention.layout import FrameLayout, Kind
from autogaze.attention.registry import attend, available_backends, require_backend
from autogaze.attention.tracing import kernels_that_ran

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_TOKENS, _BATCH, _HEADS, _HEAD_DIM = (60, 0, 200, 33), 2, 4, 64


def lines(device: torch.device) -> Iterator[str]:
    """Give the lines of the table."""
    for dtype in _DTYPES:
        for backend, reason in available_backends(device, dtype).items():
            name = f"{backend:<18}{str(dtype).removeprefix('torch.'):<10}"
            if reason is not None:
                yield f"{name}unavailable: {reason}"
                continue
            for kind in get_args(Kind):
                for independent in (False, True):
                    mask = kind + (" frame_independent" if independent else "")
                    yield name + _line(mask, *_agreement(backend, device, dtype, kind, independent))
            yield name + _line("cache", *_agreement_over_cache(backend, device, dtype))


def _line(mask: str, error: float, kernels: tuple[str, ...]) -> str:
    return f"{mask:<32}max error {error:.1e}  {', '.join(kernels)}"


def _agreement(
    backend: str, device: torch.device, dtype: torch.dtype, kind: Kind, independent: bool
) -> tuple[float, tuple[str, ...]]:
    random = torch.Generator().manual_seed(0)
    padding = (torch.rand(_BATCH, sum(_TOKENS), generator=random) < 0.3).to(device)
    layout = FrameLayout(_TOKENS, padding, kind, independent, class_token=True)
    shape = (3, _BATCH, layout.length, _HEADS, _HEAD_DIM)
    query, key, value = torch.randn(shape, generator=random).to(device, dtype).transpose(2, 3).unbind()
    real = torch.nn.functional.pad(~padding, (1, 0), value=True)[:, None, :, None]
    with torch.inference_mode():
        found = attend(query, key, value, layout, backend)
        expected = definition(query, key, value, layout, _HEAD_DIM**-0.5)
        kernels = kernels_that_ran(lambda: attend(query, key, value, layout, backend))
    return float(((found.float() - expected.float()) * real).abs().max()), kernels


def _agreement_over_cache(
    backend: str, device: torch.device, dtype: torch.dtype
) -> tuple[float, tuple[str, ...]]:
    random = torch.Generator().manual_seed(0)
    tokens, seen = 10, (sum(_TOKENS), 200)
    cache = torch.randn(2, _BATCH, _HEADS, seen[0], _HEAD_DIM, generator=random)
    keys, values = cache.to(device, dtype).unbind()
    query = torch.randn(_BATCH, _HEADS, tokens, _HEAD_DIM, generator=random).to(device, dtype)
    scale = _HEAD_DIM**-0.5
    hidden = torch.arange(seen[0]) > (torch.tensor(seen)[:, None] - tokens + torch.arange(tokens))[..., None]
    attend_cached = require_backend(backend, device, dtype).attend_cached
    with torch.inference_mode():
        expected = masked_softmax_attention(query, keys, values, ~hidden[:, None].to(device), scale)
        found = attend_cached(query, keys, values, CachedLayout(seen), scale)
        kernels = kernels_that_ran(lambda: attend_cached(query, keys, values, CachedLayout(seen), scale))
    return float((found.float() - expected.float()).abs().max()), kernels


if __name__ == "__main__":
    for line in lines(torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")):
        print(line, flush=True)
