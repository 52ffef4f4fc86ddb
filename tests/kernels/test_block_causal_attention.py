"""Intervals of keys express every mask over frames."""

import itertools

import pytest
import torch

from autogaze.attention import FrameLayout, attend
from kernels.block_causal_attention import reference, triton

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FRAMES = (3, 0, 17, 1, 9)


def intervals(kind, frame_independent, class_token):
    """Return first, end and class key of every token of one video."""
    first, end, start = [], [], int(class_token)
    total = start + sum(FRAMES)
    if class_token:
        first, end = [0], [total if kind == "bidirectional" and not frame_independent else 1]
    for count in FRAMES:
        for place in range(start, start + count):
            first.append(start if frame_independent else 0)
            end.append({"causal": place + 1, "block_causal": start + count}.get(
                kind, start + count if frame_independent else total
            ))  # fmt: skip
        start += count
    as_tensor = [torch.tensor(v, dtype=torch.int32, device=DEVICE) for v in (first, end)]
    class_key = torch.zeros_like(as_tensor[0]) if class_token and frame_independent else None
    return (*as_tensor, class_key)


@pytest.mark.parametrize("form", [reference, triton], ids=["reference", "triton"])
@pytest.mark.parametrize(
    ("kind", "frame_independent", "class_token"),
    list(itertools.product(["block_causal", "causal", "bidirectional"], [False, True], [False, True])),
)
def test_every_mask_over_frames_is_an_interval(form, kind, frame_independent, class_token):
    torch.manual_seed(0)
    layout = FrameLayout(FRAMES, kind=kind, frame_independent=frame_independent, class_token=class_token)
    q, k, v = (torch.randn(1, 2, layout.length, 32, device=DEVICE) for _ in range(3))
    expected = attend(q, k, v, layout, "eager")[0].transpose(0, 1)
    packed = (tensor[0].transpose(0, 1) for tensor in (q, k, v))
    found = form.interval_attention(*packed, *intervals(kind, frame_independent, class_token))
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("form", [reference, triton], ids=["reference", "triton"])
def test_two_videos_in_a_row_do_not_see_each_other_and_who_sees_nothing_yields_zeros(form):
    torch.manual_seed(0)
    q, k, v = (torch.randn(40, 2, 16, device=DEVICE) for _ in range(3))
    first = torch.tensor([0] * 25 + [25] * 15, dtype=torch.int32, device=DEVICE)
    end = torch.tensor([25] * 25 + [40] * 15, dtype=torch.int32, device=DEVICE)
    end[7] = 0
    both = form.interval_attention(q, k, v, first, end)
    alone = form.interval_attention(q[25:], k[25:], v[25:], first[:15], end[25:] - 25)
    assert (both[25:] - alone).abs().max() < 1e-5
    assert not both[7].any()
    assert both[8].any()
