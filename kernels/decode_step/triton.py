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
"""

from dataclasses import dataclass

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


def step(state: DecoderState, weights: Weights, sequential: bool = False) -> Tensor:
    """See :func:`kernels.decode_step.reference.step`."""
    scratch = _scratch(state, weights.layers[0].down.shape[1])
    for index, layer in enumerate(weights.layers):
        _launch_attention(state, weights, index, scratch, sequential)
        _launch_mlp(state, weights, layer, scratch)
    return _launch_choice(state, weights, scratch)


def _scratch(state: DecoderState, mlp: int) -> _Scratch:
    batch, heads, _, head_dim = state.keys.shape[1:]
    group, device = state.group.shape[1], state.keys.device
    stream, query = state.keys.new_empty(2, batch, group, heads * head_dim)
    top, total = torch.empty(2, batch, heads, _SPLITS, _TOKENS, device=device, dtype=torch.float32)
    return _Scratch(
        stream=stream,
        query=query,
        partial=torch.empty(batch, heads, _SPLITS, _TOKENS, head_dim, device=device, dtype=torch.float32),
        top=top,
        total=total,
        hidden=state.keys.new_empty(batch, group, mlp),
    )


def _common(state: DecoderState) -> dict[str, object]:
    """Return what all kernels of a layer are told."""
    heads, _, head_dim = state.keys.shape[2:]
    precision = "tf32x3" if state.keys.dtype == torch.float32 else "tf32"
    sizes = {"GROUP": state.group.shape[1], "WIDTH": heads * head_dim, "TOKENS": _TOKENS}
    return {**sizes, "PRECISION": precision, "num_warps": 4, **LAUNCH}


def _launch_attention(
    state: DecoderState, weights: Weights, index: int, scratch: _Scratch, sequential: bool
) -> None:
    batch, heads, slots, head_dim = state.keys.shape[1:]
    width, layer, common = heads * head_dim, weights.layers[index], _common(state)
    tile, narrow = _largest_divisor(width, 64), _largest_divisor(width, 32)
    split = {"HEAD_DIM": head_dim, "SPLITS": _SPLITS, "BLOCK_KEYS": _BLOCK_KEYS}
    project_kernel[(batch, 3 * width // tile)](
        scratch.stream, weights.embedding, state.group, layer.query_key_value, weights.norm_floor,
        state.rotation, state.length, state.step_position, state.finished, scratch.query, state.keys[index],
        state.values[index], slots,
        **common, HEAD_DIM=head_dim, EMBED=index == 0, SEQUENTIAL=sequential, BLOCK_OUT=tile, BLOCK_IN=tile,
    )  # fmt: skip
    attend_kernel[(_SPLITS, heads, batch)](
        scratch.query, state.keys[index], state.values[index], state.length, state.finished, scratch.partial,
        scratch.top, scratch.total, slots, head_dim**-0.5 * _LOG2_E, **common, **split,
    )  # fmt: skip
    combine_kernel[(batch, width // narrow)](
        scratch.stream, scratch.partial, scratch.top, scratch.total, layer.output, state.length,
        state.finished, **common, **split, BLOCK_OUT=narrow, num_stages=2,
    )  # fmt: skip


def _launch_mlp(state: DecoderState, weights: Weights, layer: Layer, scratch: _Scratch) -> None:
    batch, width, mlp, common = len(state.length), *layer.down.shape, _common(state)
    tile, narrow, deep = (_largest_divisor(*each) for each in ((width, 64), (width, 32), (mlp, 64)))
    expand_kernel[(batch, mlp // narrow)](
        scratch.stream, layer.gate_up, weights.norm_floor, state.finished, scratch.hidden,
        **common, MLP=mlp, BLOCK_IN=tile, BLOCK_MLP=narrow,
    )  # fmt: skip
    contract_kernel[(batch, width // narrow)](
        scratch.stream, scratch.hidden, layer.down, state.finished,
        **common, MLP=mlp, BLOCK_IN=deep, BLOCK_OUT=narrow,
    )  # fmt: skip


def _launch_choice(state: DecoderState, weights: Weights, scratch: _Scratch) -> Tensor:
    (out, width), vocabulary = weights.heads.shape, state.blocked.shape[1]
    batch, group = state.group.shape
    predictions = torch.empty(batch, out, device=state.keys.device, dtype=torch.float32)
    predict_kernel[(batch, triton.cdiv(out, 16))](
        scratch.stream, weights.heads, weights.norm_floor, state.finished, predictions,
        GROUP=group, WIDTH=width, OUT=out, BLOCK_WIDTH=triton.next_power_of_2(width), BLOCK_OUT=16,
        num_warps=4, **LAUNCH,
    )  # fmt: skip
    choose_kernel[(batch,)](
        predictions, state.blocked, state.requirement, state.budget, state.taken, state.finished,
        state.length, state.group, state.pending, state.chosen,
        GROUP=group, VOCABULARY=vocabulary, OUT=out, MOST=state.chosen.shape[1], TOKENS=_TOKENS,
        BLOCK_VOCABULARY=triton.next_power_of_2(vocabulary), num_warps=4, **LAUNCH,
    )  # fmt: skip
    return predictions


def _largest_divisor(length: int, most: int) -> int:
    """Return the largest power of two that divides ``length`` and is at most ``most``."""
    return min(most, length & -length)
