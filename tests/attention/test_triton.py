"""The Triton backend agrees with the definition under every mask; without a GPU the interpreter runs it."""

import pytest
import torch

from autogaze.attention import FrameLayout, attend, available_backends
from autogaze.errors import BackendUnavailable
from tests.attention.layouts import assert_real_tokens_agree

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOKENS = (5, 0, 21, 3)


def tensors(layout, batch, head_dim=16):
    torch.manual_seed(0)
    return (torch.randn(batch, 2, layout.length, head_dim, device=DEVICE) for _ in range(3))


@pytest.mark.parametrize("padded", [False, True], ids=["unpadded", "padded"])
@pytest.mark.parametrize("independent", [False, True], ids=["", "frame_independent"])
@pytest.mark.parametrize("kind", ["block_causal", "causal", "bidirectional"])
@pytest.mark.parametrize("class_token", [False, True], ids=["", "class_token"])
def test_agrees_with_the_definition(kind, independent, padded, class_token):
    padding = torch.rand(2, sum(TOKENS), generator=torch.Generator().manual_seed(1)).to(DEVICE) < 0.4
    layout = FrameLayout(TOKENS, padding if padded else None, kind, independent, class_token)
    q, k, v = tensors(layout, 2)
    found, expected = (attend(q, k, v, layout, backend) for backend in ("triton", "eager"))
    assert found.isfinite().all()
    assert_real_tokens_agree(found, expected, layout, 1e-5)


def test_refuses_what_it_cannot_compute():
    layout = FrameLayout((4,))
    q, k, v = tensors(layout, 1, head_dim=160)
    with pytest.raises(BackendUnavailable, match="up to 128 channels, not 160"):
        attend(q, k, v, layout, "triton")
    q, k, v = tensors(layout, 1)
    with pytest.raises(BackendUnavailable, match="no gradients"):
        attend(q.requires_grad_(), k, v, layout, "triton")


def test_says_which_precisions_it_computes():
    assert "not float64" in available_backends(DEVICE, torch.float64)["triton"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter is for machines without a GPU")
def test_on_a_cpu_only_the_interpreter_runs_it(monkeypatch):
    # Not the knob: one that was set and put back no longer follows the environment.
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "runs on CUDA devices, not on cpu" in available_backends("cpu", torch.float32)["triton"]
