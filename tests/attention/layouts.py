"""Layouts to test with, and tensors to go with them."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from autogaze.attention import FrameLayout, PackedLayout

HEADS, HEAD_DIM = 2, 8


@st.composite
def layouts(draw: st.DrawFn) -> FrameLayout:
    tokens = tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=5)))
    batch = draw(st.integers(1, 3))
    padded = draw(st.lists(st.booleans(), min_size=batch * sum(tokens), max_size=batch * sum(tokens)))
    return FrameLayout(
        tokens,
        draw(st.sampled_from([None, torch.tensor(padded, dtype=torch.bool).view(batch, sum(tokens))])),
        draw(st.sampled_from(["block_causal", "causal", "bidirectional"])),
        frame_independent=draw(st.booleans()),
        class_token=draw(st.booleans()),
    )


@st.composite
def packed_layouts(draw: st.DrawFn) -> PackedLayout:
    """Rows of videos, some of which have equal frames, and some no tokens."""
    frames = draw(st.integers(1, 3))
    video = st.tuples(*[st.integers(0, 3)] * frames)
    return PackedLayout(
        tuple(draw(st.lists(video, min_size=1, max_size=4))),
        draw(st.sampled_from(["block_causal", "causal", "bidirectional"])),
        frame_independent=draw(st.booleans()),
        class_token=draw(st.booleans()),
    )


def tensors(layout: FrameLayout, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, (batch, heads, length, head_dim), laid out as projections leave them."""
    batch = 2 if layout.padding is None else layout.padding.shape[0]
    stream = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, batch, layout.length, HEADS, HEAD_DIM, generator=stream).transpose(2, 3).unbind()
    return q, k, v


def real(layout: FrameLayout, batch: int) -> Tensor:
    """(batch, length) bool: True at the tokens whose output means something."""
    if layout.padded_tokens is None:
        return torch.ones(batch, layout.length, dtype=torch.bool)
    return ~layout.padded_tokens


def assert_real_tokens_agree(
    found: Tensor, expected: Tensor, layout: FrameLayout, tolerance: float = 1e-5
) -> None:
    """Compare (batch, heads, length, head_dim) outputs where they mean something."""
    keep = real(layout, found.shape[0]).to(found.device)
    torch.testing.assert_close(
        found.transpose(1, 2)[keep], expected.transpose(1, 2)[keep], atol=tolerance, rtol=tolerance
    )
