"""One step of the gaze decoder, entirely on the device: the fast form.

Five launches a layer (:mod:`kernels.decode_step.triton_layer`) and two for the choice
(:mod:`kernels.decode_step.triton_choice`), each reading weights and cache once:

* ``project``: embedding or residual stream, norm, query, key and value, rotation, append to the cache;
* ``attend``: the group's queries against the cache, split along its length over the chip, so that a single
  video keeps many multiprocessors busy;
* ``combine``: partial softmaxes put together, output projection, residual;
* ``expand`` and ``contract``: norm, gate and up, SwiGLU; down, residual;
* ``predict``: last norm and both heads, split over the vocabulary;
* ``choose``: ten arg-maxes, each forbidding its choice to the next, requirement, budget and bookkeeping.

What may be launched otherwise is a :class:`~kernels.decode_step.variants.Variant`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import triton
from torch import Tensor

from kernels.decode_step.layers import Layer, Weights
from kernels.decode_step.state import DecoderState
from kernels.decode_step.triton_choice import choose_kernel, predict_kernel
from kernels.decode_step.triton_layer import (
    attend_kernel,
    combine_kernel,
    contract_kernel,
    expand_kernel,
    project_kernel,
)
from kernels.decode_step.variants import PLAIN, STEPS, Variant
from kernels.numerics import LAUNCH

_LOG2_E = 1.4426950408889634
_TOKENS = 16
"""Rows of a block of tokens."""
_SPLITS = 16
"""Splits of the cache at most. A constant: how a video's attention is summed must not depend on its batch."""
_BLOCK_KEYS = 64


@dataclass(frozen=True)
class _Scratch:
    """What passes from launch to launch; B videos, G positions a group, C channels."""

    stream: Tensor
    """(B, G, C) residual stream."""
    query: Tensor
    """(B, G, C)."""
    partial: Tensor
    """(B, heads, splits, tokens, head_dim) float32 weighted values of each split."""
    top: Tensor
    """(B, heads, splits, tokens) float32 score that they are relative to."""
    total: Tensor
    """(B, heads, splits, tokens) float32 sum of their weights."""
    hidden: Tensor
    """(B, G, MLP)."""
    attended: Tensor
    """(B, G, C)."""
    arrived: Tensor
    """(B, heads) int32 programs that have left their split; of one element where nobody counts."""


def step(
    state: DecoderState,
    weights: Weights,
    sequential: bool = False,
    ended: Tensor | None = None,
    *,
    variant: Variant = PLAIN,
) -> Tensor:
    """See :func:`kernels.decode_step.reference.step`."""
    scratch = _scratch(state, weights.layers[0].down.shape[1], variant)
    for index, layer in enumerate(weights.layers):
        _launch_attention(state, weights, index, scratch, sequential, variant)
        if variant.combine_in_attend:
            _launch_contract(state, layer.output, scratch.attended, scratch, variant, rounded=True)
        _launch_mlp(state, weights, layer, scratch, variant)
    return _launch_choice(state, weights, scratch, ended)


VARIANTS: dict[str, Callable[..., Tensor]] = {
    name: partial(step, variant=variant) for name, variant in STEPS.items()
}
"""Steps to be measured beside :func:`step`."""


def _scratch(state: DecoderState, mlp: int, variant: Variant) -> _Scratch:
    batch, heads, _, head_dim = state.keys.shape[1:]
    group, device = state.group.shape[1], state.keys.device
    stream, query, attended = state.keys.new_empty(3, batch, group, heads * head_dim)
    counted = (batch, heads) if variant.combine_in_attend else (1,)
    top, total = torch.empty(2, batch, heads, _SPLITS, _TOKENS, device=device, dtype=torch.float32)
    return _Scratch(
        stream=stream,
        query=query,
        partial=torch.empty(batch, heads, _SPLITS, _TOKENS, head_dim, device=device, dtype=torch.float32),
        top=top,
        total=total,
        hidden=state.keys.new_empty(batch, group, mlp),
        attended=attended,
        arrived=torch.zeros(counted, device=device, dtype=torch.int32)
        if variant.combine_in_attend
        else torch.empty(counted, device=device, dtype=torch.int32),
    )


def _common(state: DecoderState, variant: Variant) -> dict[str, object]:
    """Return what all kernels of a layer are told."""
    heads, _, head_dim = state.keys.shape[2:]
    plain = _by_multiplication(state, variant)
    precision = "ieee" if plain else "tf32x3" if state.keys.dtype == torch.float32 else "tf32"
    sizes = {"GROUP": state.group.shape[1], "WIDTH": heads * head_dim, "TOKENS": _TOKENS}
    # With all the registers there are: ptxas would otherwise spill a few for one more block on a processor.
    warps: dict[str, object] = {"num_warps": 8, "maxnreg": 255} if plain else {"num_warps": 4}
    return {**sizes, "PRECISION": precision, **warps, **LAUNCH}


def _by_multiplication(state: DecoderState, variant: Variant) -> bool:
    return variant.ieee and state.keys.dtype == torch.float32


def _outputs(length: int, most: int, state: DecoderState, variant: Variant) -> int:
    """Return how many channels a program makes of ``length``."""
    return _largest_divisor(length, 16 if _by_multiplication(state, variant) else most)


def _launch_attention(
    state: DecoderState, weights: Weights, index: int, scratch: _Scratch, sequential: bool, variant: Variant
) -> None:
    batch, heads, slots, head_dim = state.keys.shape[1:]
    width, layer, common = heads * head_dim, weights.layers[index], _common(state, variant)
    tile, narrow = _outputs(width, 64, state, variant), _outputs(width, 32, state, variant)
    split = {"HEAD_DIM": head_dim, "SPLITS": _SPLITS, "BLOCK_KEYS": _BLOCK_KEYS}
    project_kernel[(batch, 3 * width // tile)](
        scratch.stream, weights.embedding, state.group, layer.query_key_value, weights.norm_floor,
        state.rotation, state.length, state.step_position, state.finished, scratch.query, state.keys[index],
        state.values[index], slots,
        **common, HEAD_DIM=head_dim, EMBED=index == 0, SEQUENTIAL=sequential, BLOCK_OUT=tile,
        BLOCK_IN=_largest_divisor(width, 64),
    )  # fmt: skip
    attend_kernel[(_SPLITS, heads, batch)](
        scratch.query, state.keys[index], state.values[index], state.length, state.finished, scratch.partial,
        scratch.top, scratch.total, scratch.arrived, scratch.attended, slots, head_dim**-0.5 * _LOG2_E,
        **common, **split, COMBINE=variant.combine_in_attend,
    )  # fmt: skip
    if variant.combine_in_attend:
        return
    combine_kernel[(batch, width // narrow)](
        scratch.stream, scratch.partial, scratch.top, scratch.total, layer.output, state.length,
        state.finished, **common, **split, BLOCK_OUT=narrow, num_stages=2,
    )  # fmt: skip


def _launch_mlp(
    state: DecoderState, weights: Weights, layer: Layer, scratch: _Scratch, variant: Variant
) -> None:
    batch, width, mlp, common = len(state.length), *layer.down.shape, _common(state, variant)
    tile, narrow = _largest_divisor(width, 64), _outputs(mlp, 32, state, variant)
    expand_kernel[(batch, mlp // narrow)](
        scratch.stream, layer.gate_up, weights.norm_floor, state.finished, scratch.hidden,
        **common, MLP=mlp, BLOCK_IN=tile, BLOCK_MLP=narrow,
    )  # fmt: skip
    _launch_contract(state, layer.down, scratch.hidden, scratch, variant, rounded=False)


def _launch_contract(
    state: DecoderState, weight: Tensor, given: Tensor, scratch: _Scratch, variant: Variant, *, rounded: bool
) -> None:
    width, depth = weight.shape
    narrow = _outputs(width, 32, state, variant)
    contract_kernel[(len(state.length), width // narrow)](
        scratch.stream, given, weight, state.finished,
        **_common(state, variant), MLP=depth, BLOCK_IN=_largest_divisor(depth, 64), BLOCK_OUT=narrow,
        ROUND=rounded,
    )  # fmt: skip


def _launch_choice(state: DecoderState, weights: Weights, scratch: _Scratch, ended: Tensor | None) -> Tensor:
    (out, width), vocabulary = weights.heads.shape, state.blocked.shape[1]
    batch, group = state.group.shape
    predictions = torch.empty(batch, out, device=state.keys.device, dtype=torch.float32)
    predict_kernel[(batch, triton.cdiv(out, 16))](
        scratch.stream, weights.heads, weights.norm_floor, state.finished, predictions,
        GROUP=group, WIDTH=width, OUT=out, BLOCK_WIDTH=triton.next_power_of_2(width), BLOCK_OUT=16,
        num_warps=4, **LAUNCH,
    )  # fmt: skip
    if ended is None:  # written all the same, so that one compiled form serves both
        ended = torch.empty_like(state.taken)
    choose_kernel[(batch,)](
        predictions, state.blocked, state.requirement, state.budget, state.taken, state.finished,
        state.length, state.group, state.pending, state.chosen, ended,
        GROUP=group, VOCABULARY=vocabulary, OUT=out, MOST=state.chosen.shape[1], TOKENS=_TOKENS,
        BLOCK_VOCABULARY=triton.next_power_of_2(vocabulary), num_warps=4, **LAUNCH,
    )  # fmt: skip
    return predictions


def _largest_divisor(length: int, most: int) -> int:
    """Return the largest power of two that divides ``length`` and is at most ``most``."""
    return min(most, length & -length)
