"""A batch as one row of real tokens: the form in which fused kernels spend nothing on padding.

A row holds video after video, each in its own order, and needs no batch dimension: who sees whom is a matter
of places in the row. A *segment* is what a row is made of, the tokens of one frame, or a class token.

A backend computes one form, and :func:`by_rows` and :func:`by_runs` make the other of it: a padded batch is
packed into a row, or a row is cut into batches of equal videos.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, groupby, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from autogaze.attention.layout import FrameLayout, Kind, Layout, check_mask


@dataclass(frozen=True)
class Segment:
    """The tokens of a frame, or a class token, and where they are in the row."""

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
class PackedLayout(Layout):
    """Who sees whom in a row of tokens of several videos: each token its own video's, by the rule of a
    :class:`~autogaze.attention.FrameLayout`."""

    tokens_each_frame: tuple[tuple[int, ...], ...]
    """For each video the tokens of each of its frames, the class token not among them."""
    kind: Kind = "block_causal"
    frame_independent: bool = False
    class_token: bool = False
    """Whether each video begins with a class token."""

    def __post_init__(self) -> None:
        for tokens in self.tokens_each_frame:
            check_mask(self.kind, tokens)

    @cached_property
    def runs(self) -> tuple[tuple[FrameLayout, int], ...]:
        """Consecutive videos of equal frames and their number: they can be computed as one batch."""
        return tuple(
            (FrameLayout(tokens, None, self.kind, self.frame_independent, self.class_token), len(list(same)))
            for tokens, same in groupby(self.tokens_each_frame)
        )

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """What the row is made of, in its order; empty frames are left out."""
        segments: list[Segment] = []
        video_start = 0
        first = -int(self.class_token)
        for tokens in self.tokens_each_frame:
            ends = list(accumulate([1] * -first + list(tokens), initial=video_start))
            segments += [
                Segment(frame, start, end, video_start, ends[-1])
                for frame, (start, end) in enumerate(pairwise(ends), first)
                if start < end
            ]
            video_start = ends[-1]
        return tuple(segments)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each video, the class token included."""
        return tuple(sum(tokens) + int(self.class_token) for tokens in self.tokens_each_frame)

    @cached_property
    def length(self) -> int:
        """Tokens in the row."""
        return sum(self.lengths)

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


@dataclass(frozen=True, eq=False)
class Packing:
    """A padded batch as a row: who sees whom there, and the ways there and back."""

    layout: PackedLayout
    """Of the real tokens."""
    slots: Tensor | None
    """(total,) int64: where each token lies among the batch × length tokens; None where none is left out."""

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


def packing_of(layout: FrameLayout, batch: int, device: torch.device) -> Packing:
    """Return how a batch is packed, worked out once a layout; where there is padding, this reads the
    device."""
    return layout.once(("packing", batch, device), lambda: _packing(layout, batch, device))


def _packing(layout: FrameLayout, batch: int, device: torch.device) -> Packing:
    tokens_each_frame, slots = (layout.tokens_per_frame,) * batch, None
    padded = layout.padded_tokens
    if padded is not None:
        # Frame -1, the class token, is counted first, and then not among the frames.
        class_token = int(layout.class_token)
        frame = (layout.frame_of_token(device) + class_token).expand_as(padded)
        counts = torch.zeros(
            batch, class_token + len(layout.tokens_per_frame), dtype=torch.int64, device=device
        )
        real = counts.scatter_add(1, frame, (~padded).long()).tolist()
        tokens_each_frame = tuple(tuple(video[class_token:]) for video in real)
        slots = (~padded).flatten().nonzero().squeeze(1)
    packed = PackedLayout(tokens_each_frame, layout.kind, layout.frame_independent, layout.class_token)
    return Packing(packed, slots)


Attend = Callable[[Tensor, Tensor, Tensor, FrameLayout, float], Tensor]
"""(query, key, value, layout, scale) to like query; tensors are (batch, heads, length, head_dim)."""
AttendPacked = Callable[[Tensor, Tensor, Tensor, PackedLayout, float], Tensor]
"""The same in a row of at least one token; tensors are (total, heads, head_dim)."""


def by_rows(attend_packed: AttendPacked) -> Attend:
    """Return the function over batches of a backend whose kernel takes rows."""

    def attend(query: Tensor, key: Tensor, value: Tensor, layout: FrameLayout, scale: float) -> Tensor:
        packing = packing_of(layout, query.shape[0], query.device)
        row, packed = packing.pack(value), packing.layout
        if packed.length:
            row = attend_packed(packing.pack(query), packing.pack(key), row, packed, scale)
        return packing.unpack(row, query.shape)

    return attend


def by_runs(attend: Attend) -> AttendPacked:
    """Return the function over rows of a backend that takes batches, called once for each run of equal
    videos.

    Padding the videos to one batch instead takes longer: measured on a CPU with eight of 270 to 410 tokens,
    twice to three times as long with ``sdpa``, and three times and more with ``eager``.
    """

    def attend_packed(
        query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float
    ) -> Tensor:
        rows = [
            attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), run, scale)
            .transpose(1, 2)
            .flatten(0, 1)
            for (run, _), q, k, v in zip(
                layout.runs, *(layout.split_runs(tokens) for tokens in (query, key, value)), strict=True
            )
            if run.length
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    return attend_packed


class Seen(NamedTuple):
    """What each token of a row sees: an interval, and one more token; each (total,) int32."""

    first: Tensor
    last: Tensor
    """The one after the last."""
    apart: Tensor
    """The class token, where it is outside the interval; else any token inside."""


def seen_by(layout: PackedLayout, device: torch.device) -> Seen:
    """Return what each token of a row sees, worked out once a layout."""
    return layout.once(("seen", device), lambda: _seen(layout, device))


def _seen(layout: PackedLayout, device: torch.device) -> Seen:
    bounds = []
    for segment in layout.segments:
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
        tokens[:, 1] = torch.arange(1, layout.length + 1, device=device)
    return Seen(*tokens.T.contiguous())
