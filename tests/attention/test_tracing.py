"""The profiler says which kernels ran, and no backend is replaced by another."""

from types import SimpleNamespace

import pytest
import torch
from torch._C._autograd import DeviceType

from autogaze.attention import CachedLayout, FrameLayout, attend, flex, kernels_that_ran
from autogaze.attention.registry import BACKENDS
from autogaze.attention.tracing import _kernels, _plain
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


@pytest.mark.parametrize("seen", [(9, 9), (9, 7)], ids=["even", "ragged"])
@pytest.mark.parametrize("backend", KERNELS)
def test_over_a_cache_too_each_backend_runs_its_own_kernel(backend: str, seen: tuple[int, ...]) -> None:
    if backend == "flex" and flex.obstacle(torch.device("cpu"), torch.float32):
        pytest.skip("no FlexAttention on this CPU")
    query, keys = torch.randn(2, 2, 3, 8), torch.randn(2, 2, 9, 8)
    attend_cached = BACKENDS[backend].attend_cached
    ran = kernels_that_ran(lambda: attend_cached(query, keys, keys, CachedLayout(seen), 1.0))
    # What FlexAttention fills in where no block is skipped is compiled, too.
    assert tuple(name for name in ran if not name.startswith("compiled_cpp_fused")) == KERNELS[backend]


def test_on_a_gpu_the_fused_attention_that_torch_chose_is_named_before_its_kernels() -> None:
    events = [
        SimpleNamespace(name="aten::scaled_dot_product_attention", device_type=DeviceType.CPU),
        SimpleNamespace(name="aten::_scaled_dot_product_cudnn_attention", device_type=DeviceType.CPU),
        SimpleNamespace(name="Memcpy DtoD (Device -> Device)", device_type=DeviceType.CUDA),
        SimpleNamespace(name="fmha_sm90_kernel<64>(Params)", device_type=DeviceType.CUDA),
    ]
    assert _kernels(events) == ("aten::_scaled_dot_product_cudnn_attention", "fmha_sm90_kernel")
