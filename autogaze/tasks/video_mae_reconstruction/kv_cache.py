"""Key-value cache of the reconstructor: its blocks over a frame whose past is already computed.

The reconstructor is block-causal: the class token sees itself, and a patch sees the class token, earlier
frames and its own frame. So what a frame sees of its past never depends on the frame, and is kept as keys and
values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass
class Memory:
    """Keys and values of the tokens that one clip's next frame sees, in one stack of blocks."""

    keys: list[Tensor]
    """(heads, tokens, head_dim) for each block."""
    values: list[Tensor]

    @classmethod
    def empty(cls, blocks: nn.ModuleList) -> "Memory":
        """Return a memory without a token, for :func:`run_blocks` over ``blocks``."""
        weights = [next(block.parameters()) for block in blocks]
        heads = [int(block.attention.heads) for block in _blocks(blocks)]
        blank = [w.new_empty(h, 0, w.shape[0] // h) for w, h in zip(weights, heads, strict=True)]
        return cls(list(blank), list(blank))

    def append(self, depth: int, keys: Tensor, values: Tensor) -> None:
        """Add (heads, tokens, head_dim) tokens to what block ``depth`` sees."""
        self.keys[depth] = torch.cat([self.keys[depth], keys], dim=1)
        self.values[depth] = torch.cat([self.values[depth], values], dim=1)


def run_blocks(
    blocks: nn.ModuleList,
    x: Tensor,
    memories: Sequence[Memory],
    *,
    remember: bool = False,
    last_rows: int | None = None,
) -> Tensor:
    """Run tokens of one frame, (clips, sets, tokens, width), through ``blocks``.

    The tokens of a set see each other and their clip's memory. ``last_rows`` says how many tokens at the end
    are wanted (all of them by default): the last block computes no others. ``remember`` adds the tokens to
    the memories, and takes one set a clip. Returns (clips, sets, tokens or ``last_rows``, width).
    """
    for depth, block in enumerate(_blocks(blocks)):
        wanted = last_rows if last_rows is not None and depth == len(blocks) - 1 else x.shape[2]
        normed = block.layernorm_before(x)
        projections = block.attention.attention
        x, seeing = x[:, :, x.shape[2] - wanted :], normed[:, :, x.shape[2] - wanted :]
        query, key, value = (
            linear(rows).unflatten(-1, (block.attention.heads, -1)).transpose(2, 3)
            for linear, rows in (
                (projections.query, seeing),
                (projections.key, normed),
                (projections.value, normed),
            )
        )
        y = [
            _attend(query[i], key[i], value[i], memory.keys[depth], memory.values[depth])
            for i, memory in enumerate(memories)
        ]
        if remember:
            for i, memory in enumerate(memories):
                memory.append(depth, key[i, 0], value[i, 0])
        x = x + block.attention.output(torch.stack(y))
        x = x + block.output(F.gelu(block.intermediate(block.layernorm_after(x))))
    return x


def _attend(query: Tensor, key: Tensor, value: Tensor, past_keys: Tensor, past_values: Tensor) -> Tensor:
    """Return (sets, tokens, width) for one clip's (sets, heads, tokens, head_dim) and its past."""
    sets = len(query)
    key = torch.cat([past_keys.expand(sets, -1, -1, -1), key], dim=2)
    value = torch.cat([past_values.expand(sets, -1, -1, -1), value], dim=2)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def _blocks(blocks: nn.ModuleList) -> Iterable[Any]:
    return blocks
