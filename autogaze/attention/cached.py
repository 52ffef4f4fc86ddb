"""Attention over a cache: what a block of new tokens sees of the keys before it.

The keys of a video lie without gaps from the first slot of its cache, and a block's own are already there. So
one number a video says who sees whom, and kernels that take intervals need no more. Others want a *bias*, a
mask that is added to the scores, and find it here.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from autogaze.attention.layout import Layout

ALIGNED = 8
"""Elements at which every row of a bias begins: torch copies a bias of other strides at each call, and its
fused kernels read 16 bytes at a time from wherever it begins."""


@dataclass(eq=False)
class Staircase:
    """The biases of all blocks over one cache as windows of one table, so that none is computed or copied
    while the cache grows.

    Column c of row i is visible if c <= capacity + i, with ``capacity`` rounded up. The window whose first
    column is capacity - s is then the causal bias of a block that starts at slot s. Each row down moves a
    window by one slot, so the window's first row is chosen such that its first column is aligned.
    """

    capacity: int
    """Slots of the cache."""
    block: int
    """Most tokens of a block."""
    _table: Tensor | None = field(default=None, init=False, repr=False)

    def window(self, start: int, tokens: int, keys: int, like: Tensor) -> Tensor | None:
        """Return the (tokens, keys) bias of a block that starts at slot ``start``, in the data type and on
        the device of ``like``; None for a block that is not of this cache."""
        if not 0 <= start < self.capacity:
            return None
        table = self._table
        if table is None or table.dtype != like.dtype or table.device != like.device:
            table = self._table = self._build(like)
        row = start % ALIGNED
        column = _aligned(self.capacity) - (start - row)
        window = table[row : row + tokens, column : column + keys]
        return window if window.shape == (tokens, keys) else None

    def _build(self, like: Tensor) -> Tensor:
        width = _aligned(self.capacity) + _aligned(self.block + ALIGNED - 1)
        with torch.inference_mode(False):  # the table may outlive the mode it is first used in
            table = torch.full(
                (self.block + ALIGNED - 1, width), float("-inf"), dtype=like.dtype, device=like.device
            )
            return table.triu_(_aligned(self.capacity) + 1)


@dataclass(frozen=True, eq=False)
class CachedLayout(Layout):
    """What a block of queries, the newest tokens of each video, sees of a cache: all keys up to its own."""

    seen: tuple[int, ...]
    """Keys that each video's last query sees, from the first one on; a query before it sees one fewer than
    the one after it."""
    staircase: Staircase | None = None
    """Biases of the cache, where there is more to come than this block."""

    def seen_on(self, device: torch.device) -> Tensor:
        """Return (batch,) int64: :attr:`seen` on a device."""
        return self.once(("seen", device), lambda: torch.tensor(self.seen, device=device))

    def bias(self, query: Tensor, keys: Tensor) -> Tensor | None:
        """Return (tokens, cached) or (batch, 1, tokens, cached): 0 where a query may look, -inf elsewhere.

        None where every query sees all keys. ``query`` is (batch, heads, tokens, head_dim) and ``keys``
        (batch, heads, cached, head_dim). Each row begins at a multiple of :data:`ALIGNED` elements.
        """
        tokens, cached = query.shape[2], keys.shape[2]
        key = ("bias", tokens, cached, query.dtype, query.device)
        return self.once(key, lambda: self._bias(query, tokens, cached))

    def _bias(self, query: Tensor, tokens: int, cached: int) -> Tensor | None:
        window = None
        if len(set(self.seen)) == 1:
            if tokens == 1 and self.seen[0] == cached:
                return None
            if self.staircase is not None:
                window = self.staircase.window(self.seen[0] - tokens, tokens, cached, query)
        return self._block_bias(query, tokens, cached) if window is None else window

    def _block_bias(self, query: Tensor, tokens: int, cached: int) -> Tensor:
        """Layers that compute only the last of a block's tokens take theirs from that of the whole block."""
        key = ("block", cached, query.dtype, query.device)
        block = self.once(key, lambda: self._computed_bias(query, tokens, cached))
        if block.shape[2] < tokens:
            return self._computed_bias(query, tokens, cached)
        return block[:, :, block.shape[2] - tokens :]

    def _computed_bias(self, query: Tensor, tokens: int, cached: int) -> Tensor:
        device = query.device
        ends = self.seen_on(device)[:, None] + torch.arange(1 - tokens, 1, device=device)  # (batch, tokens)
        hidden = torch.arange(cached, device=device) >= ends[..., None]
        return additive(hidden[:, None], query.dtype)


def additive(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (..., keys) to add to scores: -inf where ``hidden``, else 0; each row begins aligned."""
    rows, keys = hidden.shape[:-1], hidden.shape[-1]
    bias = torch.zeros(*rows, _aligned(keys), dtype=dtype, device=hidden.device)[..., :keys]
    return bias.masked_fill_(hidden, float("-inf"))


def _aligned(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED
