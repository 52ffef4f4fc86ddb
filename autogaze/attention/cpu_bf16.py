"""Attention for training in bfloat16 on a CPU: plain products and a softmax, a block of queries at a time.

Products run at several times the single-precision rate in bfloat16 where a CPU has instructions for it,
and torch's flash kernel makes no use of that on the way back. Measured on two cores with AVX-512, 265
queries, 700 keys, 10 heads of 32, there and back: 2.9 ms instead of 6.8. Scores are kept for the way back,
but of each block those that it sees only.

A product of a new shape is compiled at its first use, which takes longer than the product itself, and every
video has other lengths. So blocks are widened to a few even sizes, and what that adds is hidden.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.attention.layout import FrameLayout

_ROWS = 256
"""Queries of a causal block."""
_EVEN_ROWS, _EVEN_KEYS = 32, 128


def pays(query: Tensor, layout: FrameLayout) -> bool:
    """Whether this is the faster way for such a query."""
    return (
        torch.is_grad_enabled()
        and query.requires_grad
        and query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and layout.kind != "bidirectional"
        and not layout.frame_independent
    )


def attend(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
    """Masked softmax attention, ``causal`` or ``block_causal`` over all frames; tensors are (batch, heads,
    length, head_dim)."""
    padded = layout.padded_tokens
    room = max(_EVEN_ROWS, _EVEN_KEYS)
    query, key, value = (F.pad(x, (0, 0, 0, room)) for x in (query * scale, key, value))
    # A padded query may see nothing real; what it makes of that is nobody's, but must be finite.
    hidden = None if padded is None else F.pad(padded, (0, room))[:, None, None]
    outputs = []
    for start, end in _blocks(layout):
        rows, keys = _even(end - start, _EVEN_ROWS), _even(end, _EVEN_KEYS)
        scores = query[:, :, start : start + rows] @ key[:, :, :keys].transpose(-2, -1)
        if hidden is not None:
            scores.masked_fill_(hidden[..., :keys], torch.finfo(scores.dtype).min)
        if layout.kind == "causal":
            later = torch.ones(rows, keys - start, dtype=torch.bool).triu(1)
            scores[..., start:].masked_fill_(later, float("-inf"))
        scores[..., end:] = float("-inf")
        outputs.append((scores.softmax(dim=-1) @ value[:, :, :keys])[:, :, : end - start])
    return torch.cat([output.transpose(1, 2) for output in outputs], dim=1).transpose(1, 2)


def _blocks(layout: FrameLayout) -> list[tuple[int, int]]:
    if layout.kind == "causal":
        return [(start, min(start + _ROWS, layout.length)) for start in range(0, layout.length, _ROWS)]
    first = [(0, 1)] if layout.class_token else []
    return first + [(start, end) for start, end in layout.spans if start < end]


def _even(count: int, step: int) -> int:
    return -(-count // step) * step
