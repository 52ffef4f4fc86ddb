"""A batch as one row of real tokens: the form in which fused kernels spend nothing on padding.

A row holds video after video, each in its own order, and needs no batch dimension: who sees whom is a matter
of places in the row. A *segment* is what a row is made of, the tokens of one frame, or a class token.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby
from typing import NamedTuple

import torch
from torch import Tensor

from autogaze.attention.layout import FrameLayout, Kind


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """Who sees whom in a row of tokens of several videos: each token its own video's, by the rule of a
    :class:`~autogaze.attention.FrameLayout`.

    Make one for a forward pass and hand it to every layer, as with a ``FrameLayout``.
    """

    tokens_each_frame: tuple[tuple[int, ...], ...]
    """For each video the tokens of each of its frames, the class token not among them."""
    kind: Kind = "block_causal"
    frame_independent: bool = False
    class_token: bool = False
    """Whether each video begins with a class token."""

    @cached_property
    def runs(self) -> tuple[tuple[FrameLayout, int], ...]:
        """Consecutive videos of equal frames and their number: they can be computed as one batch."""
        return tuple(
            (FrameLayout(tokens, None, self.kind, self.frame_independent, self.class_token), len(list(same)))
            for tokens, same in groupby(self.tokens_each_frame)
        )

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each video, the class token included."""
        return tuple(sum(tokens) + int(self.class_token) for tokens in self.tokens_each_frame)

    def split_runs(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Cut (total, ...) into one (videos, tokens, ...) tensor for each of :attr:`runs`."""
        sizes = [layout.length * count for layout, count in self.runs]
        return tuple(
            part.unflatten(0, (count, layout.length))
            for part, (layout, count) in zip(rows.split(sizes), self.runs, strict=True)
        )

    def with_class_token(self, class_tokens: Tensor, tokens: Tensor) -> Tensor:
        """Put the class tokens, (B, width) or (1, width) for all, in front of each video's part of ``tokens``
        (total, width)."""
        by_video = tokens.split([length - 1 for length in self.lengths])
        class_tokens = class_tokens.expand(len(by_video), -1)
        return torch.cat(list(chain.from_iterable(zip(class_tokens.split(1), by_video, strict=True))))

    def without_class_token(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class tokens (B, width), and all other tokens in a row."""
        by_video = rows.split(list(self.lengths))
        return torch.stack([video[0] for video in by_video]), torch.cat([video[1:] for video in by_video])


@dataclass(frozen=True)
class Segment:
    """The real tokens of a frame, or a class token, and where they are in the row."""

    frame: int
    """-1 for the class token."""
    start: int
    end: int
    video_start: int
    video_end: int
    """Where the row begins and stops to be of the same video."""

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class Row:
    """The real tokens of a batch of videos in a row."""

    segments: tuple[Segment, ...]
    """In the order of the row; empty ones are left out."""
    slots: Tensor | None
    """(total,) int64: where each token lies among the batch × length tokens; None where none is left out."""

    @cached_property
    def length(self) -> int:
        """Tokens in the row."""
        return self.segments[-1].end if self.segments else 0

    def pack(self, tensor: Tensor) -> Tensor:
        """Bring (batch, heads, length, head_dim) into the row, (total, heads, head_dim); a view where it
        can be."""
        tokens = tensor.transpose(1, 2).flatten(0, 1)
        return tokens if self.slots is None else tokens[self.slots]

    def unpack(self, row: Tensor, shape: torch.Size) -> Tensor:
        """Bring (total, heads, head_dim) back to (batch, heads, length, head_dim), zero at padded tokens."""
        batch, heads, length, head_dim = shape
        if self.slots is not None:
            row = row.new_zeros(batch * length, heads, head_dim).index_copy(0, self.slots, row)
        return row.view(batch, length, heads, head_dim).transpose(1, 2)


def row_of(layout: FrameLayout, batch: int, device: torch.device) -> Row:
    """Return the row of a batch, worked out once a layout; where there is padding, this reads the device."""
    return layout.once(("row", batch, device), lambda: _row(layout, batch, device))


def _row(layout: FrameLayout, batch: int, device: torch.device) -> Row:
    first = -int(layout.class_token)
    sizes = [[1] * -first + list(layout.tokens_per_frame)] * batch
    slots = None
    padded = layout.padded_tokens
    if padded is not None:
        frame = (layout.frame_of_token(device) - first).expand_as(padded)
        real = torch.zeros(batch, len(sizes[0]), dtype=torch.int64, device=device)
        sizes = real.scatter_add(1, frame, (~padded).long()).tolist()
        slots = (~padded).flatten().nonzero().squeeze(1)
    segments, video_start = [], 0
    for tokens in sizes:
        ends = list(accumulate(tokens, initial=video_start))
        segments += [
            Segment(frame, start, end, video_start, ends[-1])
            for frame, start, end in zip(range(first, len(tokens) + first), ends, ends[1:])
            if start < end
        ]
        video_start = ends[-1]
    return Row(tuple(segments), slots)


class Seen(NamedTuple):
    """What each token of a row sees: an interval, and one more token; each (total,) int32."""

    first: Tensor
    last: Tensor
    """The one after the last."""
    apart: Tensor
    """The class token, where it is outside the interval; else any token inside."""


def seen_by(row: Row, layout: FrameLayout, device: torch.device) -> Seen:
    """Return what each token of a row sees under the layout's mask."""
    bounds = []
    for segment in row.segments:
        first, last = segment.video_start, segment.end
        if layout.kind == "bidirectional" and not layout.frame_independent:
            last = segment.video_end
        if layout.frame_independent:
            first = segment.start
        apart = segment.video_start if layout.class_token else first
        bounds.append((first, last, apart, segment.length))
    segments = torch.tensor(bounds, dtype=torch.int32, device=device)
    tokens = segments[:, :3].repeat_interleave(segments[:, 3], dim=0)
    if layout.kind == "causal":
        tokens[:, 1] = torch.arange(1, row.length + 1, device=device)
    return Seen(*tokens.T.contiguous())
