"""The key-value cache of the gaze decoder: preallocated once a video, written in place.

Each video's keys lie without gaps from slot 0, because padded gazes are left out rather than masked. So a
token's slot is also its position id, and videos of a batch that stopped at different gazes simply have
different lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autogaze.attention import CachedLayout, require_backend
from autogaze.attention.cached import Staircase
from autogaze.models.autogaze.cache_memory import zeros
from autogaze.models.autogaze.configuration_autogaze import Architecture
from kernels.decode_step.layers import Attention, rotate
from kernels.decode_step.reference import places


@dataclass(frozen=True)
class Placement:
    """Where a block of new tokens goes and what it may see; worked out once a block, used by every layer."""

    slots: Tensor | slice
    """A slice shared by the batch, or (batch, tokens)."""
    kept: Tensor | None
    """(batch, tokens): where each token is written, with what is not kept sent to the spare slot; None for a
    slice."""
    extent: int
    """Slots to attend over."""
    layout: CachedLayout
    """What the tokens may see of those slots."""


class KeyValueCache:
    """Keys and values of all layers for a batch of videos."""

    def __init__(
        self,
        arch: Architecture,
        batch: int,
        capacity: int,
        block: int,
        like: Tensor,
        backend: str,
        *,
        filled: bool = False,
        clean: bool = True,
    ) -> None:
        """Allocate ``capacity`` slots for each video; ``block`` is the most tokens added at once.

        On a CPU slots take memory when they are written to; ``filled`` says that all of them will be. They
        need not be ``clean`` where none is read before it was written to: what is masked is still multiplied,
        and 0 x NaN would be NaN.
        """
        shape = (
            arch.layers,
            batch,
            arch.heads,
            capacity + 1,
            arch.head_dim,
        )  # the last slot is the spare one
        self.keys, self.values = (zeros(shape, like, filled=filled, clean=clean) for _ in range(2))
        self.capacity = capacity
        self._attend = require_backend(backend, like.device, like.dtype).attend_cached
        self._scale = arch.head_dim**-0.5
        self._staircase = Staircase(capacity, block)

    def place(self, starts: Sequence[int], tokens: int, skip: Sequence[int]) -> Placement:
        """Place a block of ``tokens`` tokens.

        ``starts[b]`` is the slot of the first token of video b that counts; the ``skip[b]`` tokens before it
        are filling that evens the block out, and are not kept.
        """
        first = [start - filling for start, filling in zip(starts, skip)]
        extent = max(first) + tokens
        layout = CachedLayout(tuple(slot + tokens for slot in first), self._staircase)
        if not any(skip) and len(set(first)) == 1:
            return Placement(slice(first[0], extent), None, extent, layout)
        device = self.keys.device
        starting, filling = torch.tensor([first, skip], dtype=torch.int32, device=device)
        slots, kept = places(starting, filling, tokens, self.capacity)
        return Placement(slots, kept, extent, layout)

    def drop(self, video: int, count: int, length: int, back: Tensor) -> None:
        """Forget the first ``count`` of the ``length`` tokens of a video; the others move down to slot 0.

        Keys hold their position as a rotation, so they are turned ``back`` (head_dim / 2) by ``count``
        positions. Layer by layer, because source and target overlap and a copy stands between them.
        """
        for keys, values in zip(self.keys[:, video], self.values[:, video]):
            keys[:, : length - count] = rotate(keys[:, count:length], back)
            values[:, : length - count] = values[:, count:length].clone()

    def attention(self, placement: Placement) -> Attention:
        """Return a function that writes a block's keys and values, then attends over the cache up to the
        block."""

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self.keys[layer], self.values[layer]  # (batch, heads, capacity + 1, head dim)
            if placement.kept is None:
                keys[:, :, placement.slots] = key
                values[:, :, placement.slots] = value
            else:
                index = placement.kept[:, None, :, None].expand_as(key)
                keys.scatter_(2, index, key)
                values.scatter_(2, index, value)
            seen = slice(0, placement.extent)
            return self._attend(query, keys[:, :, seen], values[:, :, seen], placement.layout, self._scale)

        return attend
