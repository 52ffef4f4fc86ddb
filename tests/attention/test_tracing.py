"""The profiler says which kernels ran, and no backend is replaced by another."""

import pytest
import torch

from autogaze.attention import FrameLayout, attend, flex, kernels_that_ran
from autogaze.attention.tracing import _plain
from tests.attention.layouts import tensors

KERNELS = {
    "eager": ("aten::bmm", "aten::_softmax"),
    "sdpa": ("aten::_scaled_dot_product_flash_attention_for_cpu",),
    "flash_attention_2": ("aten::_scaled_dot_product_flash_attention_for_cpu",),
    "flex": ("compiled_kernel",),
}


@pytest.mark.parametrize("padded", [False, True], ids=["unpadded", "padded"])
@pytest.mark.parametrize("kind", ["block_causal", "causal", "bidirectional"])
@pytest.mark.parametrize("backend", KERNELS)
def test_each_backend_runs_its_own_kernel_and_no_other(backend: str, kind: str, padded: bool) -> None:
    if backend == "flex" and flex.obstacle(torch.device("cpu"), torch.float32):
        pytest.skip("no FlexAttention on this CPU")
    padding = torch.tensor([[0, 0, 1, 0, 0, 0, 0], [0] * 7], dtype=torch.bool) if padded else None
    layout = FrameLayout((3, 4), padding, kind)  # type: ignore[arg-type]
    q, k, v = tensors(layout)
    assert kernels_that_ran(lambda: attend(q, k, v, layout, backend)) == KERNELS[backend]


def test_a_gpu_kernel_is_called_by_its_name() -> None:
    name = "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128>, false>(Flash_fwd_params)"
    assert _plain(name) == "pytorch_flash::flash_fwd_kernel"
