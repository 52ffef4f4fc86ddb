"""Attention by plain products is the attention of the definition, gradients included."""

import pytest
import torch

from autogaze.attention import cpu_bf16, eager, sdpa
from autogaze.attention.layout import FrameLayout, Kind

TOKENS = (3, 0, 40, 17, 33)


def inputs(length: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    shape = (2, 3, length, 8)
    return [torch.randn(shape, generator=stream, dtype=dtype).requires_grad_() for _ in range(3)]


def layout_of(kind: Kind, class_token: bool, padded: bool) -> FrameLayout:
    padding = None
    if padded:
        padding = torch.zeros(2, sum(TOKENS), dtype=torch.bool)
        padding[0, 30:41] = padding[1, -1] = True
    return FrameLayout(TOKENS, padding, kind, class_token=class_token)


@pytest.mark.parametrize("kind", ["causal", "block_causal"])
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_outputs_and_gradients_are_those_of_eager(
    kind: Kind, class_token: bool, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_bf16, "_ROWS", 32)  # several blocks, as in a long video
    layout = layout_of(kind, class_token, padded)
    real = torch.ones(2, layout.length) if layout.padded_tokens is None else ~layout.padded_tokens
    results = []
    for attend in (eager.attend, cpu_bf16.attend):
        tensors = inputs(layout.length)
        output = attend(*tensors, layout, 0.3) * real[:, None, :, None]
        output.square().sum().backward()
        results.append([output, *(x.grad for x in tensors)])
    for ours, definition in zip(*reversed(results), strict=True):
        torch.testing.assert_close(ours, definition)


def test_only_training_in_half_precision_takes_this_way() -> None:
    layout = layout_of("block_causal", class_token=True, padded=False)
    half, single = (inputs(layout.length, dtype)[0] for dtype in (torch.bfloat16, torch.float32))
    assert cpu_bf16.pays(half, layout)
    assert not cpu_bf16.pays(single, layout)
    assert not cpu_bf16.pays(half.detach(), layout)
    with torch.no_grad():
        assert not cpu_bf16.pays(half, layout)


def test_sdpa_takes_this_way() -> None:
    layout = layout_of("causal", class_token=False, padded=False)
    tensors = inputs(layout.length, torch.bfloat16)
    assert torch.equal(sdpa.attend(*tensors, layout, 0.3), cpu_bf16.attend(*tensors, layout, 0.3))
