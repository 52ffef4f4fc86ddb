"""Attention backends on a CPU, by mask: four frames of a clip at a quarter of its patches."""

import pytest
import torch

from autogaze.attention import FrameLayout, attend, available_backends

pytestmark = pytest.mark.microbench
CPU = torch.device("cpu")
HEADS, HEAD_DIM = 6, 32


@pytest.mark.parametrize("kind", ["block_causal", "causal", "bidirectional"])
@pytest.mark.parametrize("backend", ["eager", "sdpa", "flex"])
def test_attend(benchmark, backend, kind):
    if reason := available_backends(CPU, torch.float32)[backend]:
        pytest.skip(f"{backend} {reason}")
    layout = FrameLayout((66, 66, 66, 66), kind=kind)
    shape = (3, 1, HEADS, layout.length, HEAD_DIM)
    query, key, value = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = benchmark(attend, query, key, value, layout, backend)
    assert (found - attend(query, key, value, layout, "eager")).abs().max() < 1e-5
