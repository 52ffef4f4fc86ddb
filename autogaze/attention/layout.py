"""Attention layout: who may see whom, the one description of a mask that every backend reads."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from autogaze.errors import InputError, unknown_name

Kind = Literal["block_causal", "causal", "bidirectional"]

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Layout:
    """What all layouts have in common: what backends derive from one is kept in it.

    Make one for a forward pass and hand it to every layer.
    """

    _derived: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, key: Hashable, build: Callable[[], _T]) -> _T:
        """Return ``build()``, called at the first use of ``key`` only: masks are made once a pass."""
        if key not in self._derived:
            self._derived[key] = build()
        value: _T = self._derived[key]
        return value


@dataclass(frozen=True, eq=False)
class FrameLayout(Layout):
    """A sequence of tokens from consecutive frames, and the rule by which they see each other.

    ``block_causal``: a token sees its own frame and all frames before it. ``causal``: a token sees itself and
    the tokens before it. ``bidirectional``: everyone sees everyone. ``frame_independent`` confines each kind
    to the token's own frame.

    A class token stands in front of the frames and everyone sees it. It sees only itself, except in
    ``bidirectional`` without ``frame_independent``, where it too sees everyone.

    A padded token is seen by nobody but itself. What it sees is not defined, only that its output is finite.
    """

    tokens_per_frame: tuple[int, ...]
    """Slots of each frame, padding included, the class token not."""
    padding: Tensor | None = None
    """(B, sum of tokens_per_frame) bool, True at padded slots; None where nothing is padded."""
    kind: Kind = "block_causal"
    frame_independent: bool = False
    class_token: bool = False

    def __post_init__(self) -> None:
        check_mask(self.kind, self.tokens_per_frame)
        if self.padding is None:
            return
        shape, slots = tuple(self.padding.shape), sum(self.tokens_per_frame)
        if self.padding.dtype != torch.bool or len(shape) != 2 or shape[1] != slots:
            raise InputError(
                f"padding of shape {shape} and type {self.padding.dtype} must be (batch, {slots}) bools, "
                f"one for each of the {slots} slots of the {len(self.tokens_per_frame)} frames"
            )

    @cached_property
    def length(self) -> int:
        """Tokens in the sequence, the class token included."""
        return sum(self.tokens_per_frame) + int(self.class_token)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Start and end of each frame in the sequence."""
        ends = tuple(accumulate(self.tokens_per_frame, initial=int(self.class_token)))
        return tuple(pairwise(ends))

    @cached_property
    def padded_tokens(self) -> Tensor | None:
        """(B, length) bool, True at padded tokens; None where nothing is padded. Reads the device once."""
        if self.padding is None or not bool(self.padding.any()):
            return None
        return torch.nn.functional.pad(self.padding, (int(self.class_token), 0), value=False)

    def frame_of_token(self, device: torch.device) -> Tensor:
        """Return (length,) int64: the frame of each token, -1 for the class token."""
        slots = torch.tensor(self.tokens_per_frame, device=device, dtype=torch.int64)
        frames = torch.arange(len(self.tokens_per_frame), device=device).repeat_interleave(slots)
        return torch.nn.functional.pad(frames, (int(self.class_token), 0), value=-1)


def check_mask(kind: str, tokens_per_frame: Sequence[int]) -> None:
    """Raise ``InputError`` for an unknown kind of mask, and for negative numbers of tokens."""
    if kind not in get_args(Kind):
        raise unknown_name("kind of attention mask", kind, get_args(Kind))
    if any(tokens < 0 for tokens in tokens_per_frame):
        raise InputError(f"tokens per frame {list(tokens_per_frame)} must not be negative")
