"""FlexAttention: compiled once for all masks, in memory that grows with the length."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze.attention import (
    FrameLayout,
    Kind,
    PackedLayout,
    attend,
    attend_packed,
    flex,
    kernels_that_ran,
)
from autogaze.attention.eager import visibility
from autogaze.attention.packed import packing_of
from autogaze.errors import BackendUnavailable
from autogaze.stages import observed_by
from tests.attention.layouts import HEAD_DIM, HEADS, assert_real_tokens_agree, tensors

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    flex.obstacle(CPU, torch.float32) is not None, reason="no FlexAttention on this CPU"
)

MASKS = [(kind, independent) for kind in get_args(Kind) for independent in (False, True)]


@st.composite
def long_layouts(draw: st.DrawFn) -> FrameLayout:
    """Layouts of a few blocks, without padding, which a row leaves out."""
    tokens = tuple(draw(st.lists(st.integers(0, 200), min_size=1, max_size=6).filter(sum)))
    kind, independent = draw(st.sampled_from(MASKS))
    return FrameLayout(tokens, None, kind, independent, draw(st.booleans()))


@given(layout=long_layouts())
@settings(max_examples=100, deadline=None)
def test_blocks_hold_all_that_is_seen_and_whole_ones_nothing_else(layout: FrameLayout) -> None:
    mask = flex.block_mask(packing_of(layout, 1, CPU).layout, CPU)
    dense = visibility(layout, CPU)[0, 0]
    rule = mask.mask_mod(
        None, None, torch.arange(layout.length)[:, None], torch.arange(layout.length)[None, :]
    )
    assert torch.equal(rule, dense)
    blocks = mask.kv_indices.shape[-1]
    padded = torch.nn.functional.pad(dense, (0, blocks * flex.BLOCK - layout.length) * 2)
    tiles = padded.unflatten(0, (blocks, -1)).unflatten(2, (blocks, -1)).transpose(1, 2).flatten(2)
    partly, wholly = (
        listed(count[0, 0], columns[0, 0])
        for count, columns in (
            (mask.kv_num_blocks, mask.kv_indices),
            (mask.full_kv_num_blocks, mask.full_kv_indices),
        )
    )
    assert (tiles.all(2) | ~wholly).all()
    assert torch.equal(partly | wholly, tiles.any(2))
    assert not (partly & wholly).any()


def listed(count: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """(blocks, blocks) bool: the columns listed for each row."""
    first = torch.arange(columns.shape[1]) < count[:, None]
    return torch.zeros(columns.shape, dtype=torch.bool).scatter(1, columns.long(), first)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_sequences_of_many_blocks_agree_with_the_definition(mask: tuple[Kind, bool]) -> None:
    padding = torch.rand(2, 800, generator=torch.Generator().manual_seed(0)) < 0.3
    layout = FrameLayout((200, 0, 350, 250), padding, mask[0], mask[1], class_token=True)
    q, k, v = tensors(layout)
    assert_real_tokens_agree(attend(q, k, v, layout, "flex"), attend(q, k, v, layout, "eager"), layout)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_ragged_videos_agree_in_one_call_too(mask: tuple[Kind, bool]) -> None:
    """As a GPU computes them; a CPU takes run by run of equal videos."""
    layout = PackedLayout(((90, 0, 150), (1, 20, 5), (60, 60, 60)), mask[0], mask[1], class_token=True)
    stream = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, layout.length, HEADS, HEAD_DIM, generator=stream).unbind()
    found = flex.attend_row(q, k, v, layout, HEAD_DIM**-0.5)
    torch.testing.assert_close(found, attend_packed(q, k, v, layout, "eager"), atol=1e-5, rtol=1e-5)


class Stages:
    """Notes the names of stages."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.names.append(name)
        yield

    def count(self, name: str, amount: int) -> None:
        raise AssertionError("attention counts nothing")


def test_compiling_is_a_stage_of_its_own_and_happens_once() -> None:
    torch._dynamo.reset()
    seen = []
    for tokens in ((3, 4), (5, 1, 6)):
        layout, stages = FrameLayout(tokens), Stages()
        with observed_by(stages):
            attend(*tensors(layout), layout, "flex")
        seen.append(stages.names)
    assert seen == [["compile"], []]


def test_more_variants_than_torch_keeps_are_compiled_and_not_replaced() -> None:
    layout = FrameLayout((3, 4))
    q, k, v = tensors(layout)
    expected = attend(q, k, v, layout, "eager")
    with torch._dynamo.config.patch(recompile_limit=1):
        torch._dynamo.reset()
        attend(q.double().bfloat16(), k.bfloat16(), v.bfloat16(), layout, "flex")
        found = attend(q, k, v, layout, "flex")
        ran = kernels_that_ran(lambda: attend(q, k, v, layout, "flex"))
    assert_real_tokens_agree(found, expected, layout)
    assert ran == ("compiled_kernel",)


def test_gradients_on_a_cpu_are_refused() -> None:
    layout = FrameLayout((3, 4))
    q, k, v = tensors(layout)
    with pytest.raises(BackendUnavailable, match=r"no gradients on a CPU; use 'sdpa', or torch\.no_grad"):
        attend(q.clone().requires_grad_(), k, v, layout, "flex")


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("cpu", torch.float64, "float32, bfloat16 or float16, not in float64; use 'sdpa'"),
        ("meta", torch.float32, "CPU and CUDA devices, not on meta"),
    ],
)
def test_the_reason_names_what_is_missing(device: str, dtype: torch.dtype, reason: str) -> None:
    assert reason in (flex.obstacle(torch.device(device), dtype) or "")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "finds no 'no-such-compiler'; install g++ or set CXX" in (flex._cpu_obstacle.__wrapped__() or "")
