"""Launches of the decoder's kernels: what a step and a prefill share, cut into programs by :class:`Tiles`."""

from dataclasses import dataclass, replace

import torch
import triton
from torch import Tensor

from kernels import dependent_launch
from kernels.decode_step.layers import Layer, Weights
from kernels.decode_step.state import DecoderState
from kernels.decode_step.triton_attention import attend_kernel, combine_kernel
from kernels.decode_step.triton_choice import choose_kernel, predict_kernel
from kernels.decode_step.triton_layer import contract_kernel, expand_kernel, project_kernel
from kernels.decode_step.triton_rows import LEAST_ROWS
from kernels.numerics import LAUNCH

_LOG2_E = 1.4426950408889634
MOST_SPLITS = 16
"""Splits of the cache at most. A constant: how a video's attention is summed must not depend on its batch."""


@dataclass(frozen=True)
class Tiles:
    """How the tokens of each video are cut into programs, and how these compute."""

    rows: int
    """Tokens of a video."""
    tokens: int
    """Rows of a program."""
    splits: int
    """Of the cache."""
    wide: int
    """Channels of query, key or value that a program makes."""
    narrow: int
    """Channels of anything else that it makes."""
    precision: str
    """Of float32 products, as :func:`kernels.numerics.product` takes it."""
    keys: int = 64
    """Keys that attention takes at a time."""
    depth: int = 64
    """Channels that a product takes at a time."""
    warps: int = 4
    registers: int | None = None
    """Most of a thread; None for what the compiler thinks best."""
    prefill: bool = False
    combine: bool = False
    """Whether attention puts its splits together itself."""
    dependent: bool = False
    """Whether each launch begins before the one before it has ended; needs ``combine``."""
    last: bool = False
    """Whether only the last rows are computed."""

    @property
    def blocks(self) -> int:
        return 1 if self.last else triton.cdiv(self.rows, self.tokens)

    def of_last_rows(self) -> "Tiles":
        """Return what computes the last rows alone, as few as can be; of fewer rows than that, all."""
        if self.rows < LEAST_ROWS.value:
            return self
        return replace(
            self, tokens=LEAST_ROWS.value, splits=MOST_SPLITS, keys=64, depth=64, warps=4, last=True
        )

    @property
    def everywhere(self) -> dict[str, object]:
        """What all kernels are told."""
        options = {**LAUNCH, **dependent_launch.LAUNCH} if self.dependent else LAUNCH
        return {"ROWS": self.rows, "PREFILL": self.prefill, "DEPENDENT": self.dependent, **options}

    @property
    def shared(self) -> dict[str, object]:
        """What all kernels of a layer are told."""
        limit = {} if self.registers is None else {"maxnreg": self.registers}
        return {
            "TOKENS": self.tokens, "PRECISION": self.precision, "num_warps": self.warps, **limit,
            **self.everywhere,
        }  # fmt: skip


@dataclass(frozen=True)
class Scratch:
    """What passes from launch to launch; B videos, R rows of each, C channels."""

    stream: Tensor
    """(B, R, C) residual stream."""
    query: Tensor
    """(B, R, C)."""
    partial: Tensor
    """(B, heads, blocks, splits, tokens, head_dim) float32 weighted values of each split."""
    top: Tensor
    """(B, heads, blocks, splits, tokens) float32 score that they are relative to."""
    total: Tensor
    """(B, heads, blocks, splits, tokens) float32 sum of their weights."""
    hidden: Tensor
    """(B, R, MLP)."""
    attended: Tensor
    """(B, R, C)."""
    arrived: Tensor
    """(B, heads, blocks) int32 programs that have left their split; of one element where nobody counts."""

    @classmethod
    def allocate(cls, state: DecoderState, mlp: int, tiles: Tiles) -> "Scratch":
        batch, heads, _, head_dim = state.keys.shape[1:]
        device = state.keys.device
        stream, query, attended = state.keys.new_empty(3, batch, tiles.rows, heads * head_dim)
        units = (batch, heads, tiles.blocks)
        rows = (*units, max(tiles.splits * tiles.tokens, MOST_SPLITS * LEAST_ROWS.value))
        top, total = torch.empty(2, *rows, device=device, dtype=torch.float32)
        make = torch.zeros if tiles.combine else torch.empty
        return cls(
            stream=stream,
            query=query,
            partial=torch.empty(*rows, head_dim, device=device, dtype=torch.float32),
            top=top,
            total=total,
            hidden=state.keys.new_empty(batch, tiles.rows, mlp),
            attended=attended,
            arrived=make(units if tiles.combine else (1,), device=device, dtype=torch.int32),
        )


def launch_attention(
    state: DecoderState,
    weights: Weights,
    index: int,
    scratch: Scratch,
    tiles: Tiles,
    *,
    vision: Tensor | None = None,
    sequential: bool = False,
    only_last: bool = False,
) -> None:
    """Put keys and values of a layer into the cache, and attend: of ``vision`` tokens and what is pending, or
    of the group that a step feeds. With ``only_last`` the last rows alone ask."""
    batch, heads, slots, head_dim = state.keys.shape[1:]
    width, layer = heads * head_dim, weights.layers[index]
    fed, group = state.group if vision is None else state.pending, state.group.shape[1]
    if vision is None:
        vision = weights.embedding  # something to point to, which a step does not read
    asking = tiles.of_last_rows() if only_last else tiles
    sizes = {"GROUP": group, "WIDTH": width, "HEAD_DIM": head_dim, "EOS": state.eos, "LAST": asking.last}
    tile = largest_divisor(width, tiles.wide)
    project_kernel[(batch, 3 * width // tile, tiles.blocks)](
        scratch.stream, weights.embedding, fed, vision, layer.query_key_value, weights.norm_floor,
        state.rotation, state.length, state.step_position,
        state.finished, scratch.query, state.keys[index], state.values[index], slots,
        **tiles.shared, **sizes, EMBED=index == 0, SEQUENTIAL=sequential, BLOCK_OUT=tile,
        BLOCK_IN=largest_divisor(width, tiles.depth),
    )  # fmt: skip
    attend_kernel[(asking.blocks * asking.splits, heads, batch)](
        scratch.query, state.keys[index], state.values[index], state.length, state.pending, state.finished,
        scratch.partial, scratch.top, scratch.total, scratch.arrived, scratch.attended, slots,
        head_dim**-0.5 * _LOG2_E,
        **asking.shared, **sizes, BLOCKS=asking.blocks, SPLITS=asking.splits, BLOCK_KEYS=asking.keys,
        COMBINE=tiles.combine,
    )  # fmt: skip


def launch_output(state: DecoderState, weight: Tensor, scratch: Scratch, tiles: Tiles) -> None:
    """Add the projection of what was attended to the residual stream."""
    if tiles.combine:
        launch_contract(state, weight, scratch.attended, scratch, tiles, rounded=True)
        return
    batch, heads, _, head_dim = state.keys.shape[1:]
    narrow = largest_divisor(heads * head_dim, tiles.narrow)
    combine_kernel[(batch, heads * head_dim // narrow)](
        scratch.stream, scratch.partial, scratch.top, scratch.total, weight, state.length, state.finished,
        ROWS=tiles.rows, WIDTH=heads * head_dim, HEAD_DIM=head_dim, SPLITS=tiles.splits, TOKENS=tiles.tokens,
        BLOCK_KEYS=tiles.keys, BLOCK_OUT=narrow, PRECISION=tiles.precision, num_warps=tiles.warps,
        num_stages=2, **LAUNCH,
    )  # fmt: skip


def launch_mlp(state: DecoderState, weights: Weights, layer: Layer, scratch: Scratch, tiles: Tiles) -> None:
    """Add the MLP of the residual stream to it."""
    batch, (width, mlp) = len(state.length), layer.down.shape
    narrow = largest_divisor(mlp, tiles.narrow)
    expand_kernel[(batch, mlp // narrow, tiles.blocks)](
        scratch.stream, layer.gate_up, weights.norm_floor, state.finished, scratch.hidden,
        **tiles.shared, WIDTH=width, LAST=tiles.last, MLP=mlp, BLOCK_IN=largest_divisor(width, tiles.depth),
        BLOCK_MLP=narrow,
    )  # fmt: skip
    launch_contract(state, layer.down, scratch.hidden, scratch, tiles, rounded=False)


def launch_contract(
    state: DecoderState, weight: Tensor, given: Tensor, scratch: Scratch, tiles: Tiles, *, rounded: bool
) -> None:
    """Add the product of (B, R, depth) ``given`` with a (C, depth) ``weight`` to the residual stream."""
    width, depth = weight.shape
    narrow = largest_divisor(width, tiles.narrow)
    contract_kernel[(len(state.length), width // narrow, tiles.blocks)](
        scratch.stream, given, weight, state.finished,
        **tiles.shared, WIDTH=width, LAST=tiles.last, MLP=depth, BLOCK_IN=largest_divisor(depth, tiles.depth),
        BLOCK_OUT=narrow, ROUND=rounded,
    )  # fmt: skip


def launch_choice(
    state: DecoderState, weights: Weights, scratch: Scratch, tiles: Tiles, ended: Tensor | None
) -> Tensor:
    """Choose a group from the last row, and return what from: (B, group * vocabulary + group) predictions."""
    (out, width), vocabulary = weights.heads.shape, state.blocked.shape[1]
    batch, group = state.group.shape
    predictions = torch.empty(batch, out, device=state.keys.device, dtype=torch.float32)
    options = {"num_warps": 4, **tiles.everywhere}
    predict_kernel[(batch, triton.cdiv(out, 16))](
        scratch.stream, weights.heads, weights.norm_floor, state.finished, predictions,
        WIDTH=width, OUT=out, BLOCK_WIDTH=triton.next_power_of_2(width), BLOCK_OUT=16, **options,
    )  # fmt: skip
    if ended is None:  # written all the same, so that one compiled form serves both
        ended = torch.empty_like(state.taken)
    choose_kernel[(batch,)](
        predictions, state.blocked, state.requirement, state.budget, state.taken, state.finished,
        state.length, state.step_position, state.group, state.pending, state.chosen, ended,
        GROUP=group, VOCABULARY=vocabulary, OUT=out, MOST=state.chosen.shape[1], TOKENS=LEAST_ROWS.value,
        BLOCK_VOCABULARY=triton.next_power_of_2(vocabulary), **options,
    )  # fmt: skip
    return predictions


def largest_divisor(length: int, most: int) -> int:
    """Return the largest power of two that divides ``length`` and is at most ``most``."""
    return min(most, length & -length)
