"""Every mask is sequences of queries over consecutive keys, whichever kernel computes them."""

import importlib.util
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from autogaze.attention import FrameLayout, available_backends, flash
from autogaze.attention.eager import attend as eager
from autogaze.attention.flash import Kernel, Sequences, attend_packed_with, find_kernel
from autogaze.attention.packed import Attend, by_rows, packing_of
from autogaze.errors import BackendUnavailable
from tests.attention.layouts import assert_real_tokens_agree, layouts, tensors
from tests.attention.stand_in import PLAIN, SHARING, run

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def attend_with(kernel: Kernel) -> Attend:
    """Attention of padded batches by a given kernel."""
    return by_rows(partial(attend_packed_with, kernel))


HOST = find_kernel("cpu")
KERNELS = pytest.mark.parametrize("kernel", [SHARING, PLAIN, HOST], ids=lambda kernel: kernel.name)


@KERNELS
@given(layout=layouts())
@settings(max_examples=200, deadline=None)
def test_every_layout_agrees_with_the_definition(kernel: Kernel, layout: FrameLayout) -> None:
    q, k, v = tensors(layout)
    found, expected = attend_with(kernel)(q, k, v, layout, 0.5), eager(q, k, v, layout, 0.5)
    assert found.shape == q.shape
    assert_real_tokens_agree(found, expected, layout)
    assert found.isfinite().all()


@KERNELS
@given(layout=layouts())
@settings(max_examples=50, deadline=None)
def test_gradients_agree_with_the_definition(kernel: Kernel, layout: FrameLayout) -> None:
    gradients = []
    for attend in (attend_with(kernel), eager):
        q, k, v = inputs = [x.clone().requires_grad_() for x in tensors(layout)]
        output = attend(q, k, v, layout, 0.5)
        keep = torch.ones_like(output)
        if layout.padded_tokens is not None:
            keep = keep.masked_fill(layout.padded_tokens[:, None, :, None], 0.0)
        torch.autograd.backward((output * keep).square().sum())
        gradients.append([torch.zeros_like(x) if x.grad is None else x.grad for x in inputs])  # no tokens
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def calls(kernel: Kernel, layout: FrameLayout) -> list[tuple[Tensor, Sequences]]:
    """The keys and sequences of each call of the kernel."""
    seen: list[tuple[Tensor, Sequences]] = []

    def noting(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        seen.append((key, sequences))
        return run(query, key, value, sequences, scale)

    attend_with(Kernel(kernel.name, noting, kernel.takes_used))(*tensors(layout), layout, 0.5)
    return seen


def test_block_causal_frames_share_the_keys_of_their_video_in_one_call() -> None:
    layout = FrameLayout((3, 0, 2), class_token=True)
    [(keys, sequences)] = calls(SHARING, layout)
    assert keys.untyped_storage().data_ptr() == keys._base.untyped_storage().data_ptr()  # type: ignore[union-attr]
    assert keys.shape[0] == 2 * 6
    assert sequences.cu_query.tolist() == [0, 1, 4, 6, 7, 10, 12]
    assert sequences.cu_key.tolist() == [0, 0, 0, 6, 6, 6, 12]
    assert sequences.used is not None
    assert sequences.used.tolist() == [1, 4, 6, 1, 4, 6]


def test_a_kernel_that_cannot_share_keys_is_called_once_a_frame_for_all_videos() -> None:
    found = calls(PLAIN, FrameLayout((3, 0, 2)))
    assert [sequences.cu_query.tolist() for _, sequences in found] == [[0, 0, 3, 3, 6], [0, 0, 2, 2, 4]]
    assert [sequences.cu_key.tolist() for _, sequences in found] == [[0, 0, 3, 5, 8], [0, 0, 5, 5, 10]]


def test_only_the_class_token_is_copied_for_independent_frames() -> None:
    [(keys, _)] = calls(SHARING, FrameLayout((3, 4), frame_independent=True, class_token=True))
    assert keys.shape[0] == 2 * (1 + (1 + 3) + (1 + 4))


def test_padding_is_never_computed() -> None:
    padding = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)
    [(keys, sequences)] = calls(SHARING, FrameLayout((2, 2), padding, "bidirectional"))
    assert keys.shape[0] == 4
    assert sequences.cu_query.tolist() == [0, 1, 4]


@pytest.mark.parametrize("kernel", [SHARING, HOST], ids=lambda kernel: kernel.name)
def test_a_video_gets_in_a_batch_what_it_gets_alone(kernel: Kernel) -> None:
    padding = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 1, 1]], dtype=torch.bool)
    q, k, v = tensors(FrameLayout((2, 3), padding))
    together = attend_with(kernel)(q, k, v, FrameLayout((2, 3), padding), 0.5)
    for video in range(2):
        part = slice(video, video + 1)
        alone = attend_with(kernel)(q[part], k[part], v[part], FrameLayout((2, 3), padding[part]), 0.5)
        assert torch.equal(together[part], alone)


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "reason"),
    [
        (torch.device("meta"), torch.bfloat16, (9, 0), "CUDA devices and CPUs, not on meta; use 'sdpa'"),
        (CPU, torch.int64, (9, 0), "computes floating-point numbers, not int64"),
        (GPU, torch.float32, (9, 0), "float16 or bfloat16 on a GPU, not in float32; use 'sdpa'"),
        (GPU, torch.float16, None, "needs a CUDA device that torch can use"),
        (GPU, torch.float16, (7, 5), r"capability 8\.0 or newer, and this one has 7\.5; use 'sdpa'"),
    ],
)
def test_the_reason_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    device: torch.device,
    dtype: torch.dtype,
    capability: tuple[int, int] | None,
    reason: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    with pytest.raises(AssertionError, match=reason):
        assert available_backends(device, dtype)["flash_attention_2"] is None


def test_an_ampere_gpu_can_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert available_backends(GPU, torch.bfloat16)["flash_attention_2"] is None


def test_a_head_size_that_the_kernels_lack_is_refused() -> None:
    q = torch.zeros(1, 2, 4, 12)
    with pytest.raises(BackendUnavailable, match="multiple of 8 channels, at most 256, and these have 12"):
        attend_with(SHARING)(q, q, q, FrameLayout((4,)), 0.5)


def test_on_a_cpu_heads_may_have_any_size() -> None:
    layout = FrameLayout((2, 3))
    q, k, v = torch.randn(3, 1, 2, 5, 12).unbind()
    found = by_rows(flash.attend_packed)(q, k, v, layout, 0.5)
    torch.testing.assert_close(found, eager(q, k, v, layout, 0.5), atol=1e-6, rtol=1e-6)


@pytest.fixture
def fresh_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``cuda`` would be given, found anew and for tensors of the CPU."""
    monkeypatch.setattr(flash, "find_kernel", lambda device_type: find_kernel.__wrapped__("cuda"))


@pytest.mark.usefixtures("fresh_kernel")
def test_the_flash_attn_package_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def varlen(*tensors: Tensor, **options: object) -> Tensor:
        given.update(options)
        q, k, v, cu_q, cu_k, longest_q, longest_k = tensors
        sequences = Sequences(cu_q, cu_k, longest_q, longest_k, bool(options["causal"]))  # type: ignore[arg-type]
        return run(q, k, v, sequences, float(options["softmax_scale"]))  # type: ignore[arg-type]

    module = ModuleType("flash_attn")
    module.__spec__ = importlib.util.spec_from_loader("flash_attn", None)
    module.flash_attn_varlen_func = varlen  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    layout = FrameLayout((2, 3), kind="causal")
    q, k, v = tensors(layout)
    found = by_rows(flash.attend_packed)(q, k, v, layout, 0.25)
    assert given == {"softmax_scale": 0.25, "causal": True}
    assert_real_tokens_agree(found, eager(q, k, v, layout, 0.25), layout)


@pytest.mark.usefixtures("fresh_kernel")
def test_a_broken_flash_attn_package_is_named_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise ImportError("undefined symbol: _ZN3c105")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"undefined symbol.*install it anew.*or uninstall it"):
        flash.find_kernel("cuda")


@pytest.mark.parametrize(
    ("kernel", "kind", "independent", "said"),
    [
        (PLAIN, "block_causal", False, True),
        (PLAIN, "causal", False, False),
        (PLAIN, "block_causal", True, False),
        (SHARING, "block_causal", False, False),
    ],
)
def test_a_call_for_each_frame_is_said(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, kind: str, independent: bool, said: bool
) -> None:
    monkeypatch.setattr(flash, "find_kernel", lambda device_type: kernel)
    remark = flash.remark(torch.device("cuda"), kind, independent)
    assert (remark is not None) == said
    layout = FrameLayout((2, 3), kind=kind, frame_independent=independent)
    plan = flash._plan(packing_of(layout, 1, CPU).layout, CPU, kernel.takes_used)
    assert (len(plan.calls) > 1) == said
    assert remark is None or "takes one call a frame under a block-causal mask: stand-in without" in remark


@pytest.mark.parametrize("old", [True, False], ids=["torch 2.11", "torch 2.12"])
def test_torch_is_asked_for_what_its_version_takes(monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    from torch.nn.attention import varlen

    def compute(q: Tensor, k: Tensor, v: Tensor, *rest: object, **options: object) -> Tensor:
        cu_q, cu_k, longest_q, longest_k = rest
        causal = options["window_size"] == (-1, 0)
        sequences = Sequences(cu_q, cu_k, longest_q, longest_k, causal, options.get("seqused_k"))  # type: ignore[arg-type]
        return run(q, k, v, sequences, float(options["scale"]))  # type: ignore[arg-type]

    def before(q, k, v, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):  # type: ignore[no-untyped-def]
        return compute(q, k, v, cu_q, cu_k, max_q, max_k, scale=scale, window_size=window_size)

    def since(q, k, v, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1), seqused_k=None):  # type: ignore[no-untyped-def]
        return compute(
            q, k, v, cu_q, cu_k, max_q, max_k, scale=scale, window_size=window_size, seqused_k=seqused_k
        )

    monkeypatch.setattr(varlen, "varlen_attn", before if old else since)
    kernel = flash._torch_kernel()
    assert kernel.takes_used is not old
    for kind in ("block_causal", "causal", "bidirectional"):
        layout = FrameLayout((2, 3), kind=kind)
        q, k, v = tensors(layout)
        expected = eager(q, k, v, layout, 0.25)
        assert_real_tokens_agree(attend_with(kernel)(q, k, v, layout, 0.25), expected, layout)


def test_gradients_that_the_kernels_would_not_write_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "find_kernel", lambda device_type: PLAIN)
    layout = FrameLayout((2, 3))
    q, k, v = (torch.zeros(1, 2, 5, 16, requires_grad=True) for _ in range(3))
    with pytest.raises(BackendUnavailable, match="no gradients under a block-causal mask"):
        by_rows(flash.attend_packed)(q, k, v, layout, 1.0)
