"""The beginning of a frame of the gaze decoder, entirely on the device: the fast form.

The kernels are the step's (:mod:`kernels.decode_step.triton_launch`), with blocks of 64 rows: five launches
a layer and two for the choice, none that makes a mask. Attention reads the slots that are filled, up to the
last that a block of rows may see, split along their length; the last layer answers for the last rows alone.
What was pending is pushed right and embedded by the first launch, and the last forgets the frame before.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from kernels import dependent_launch
from kernels.decode_step.layers import Weights
from kernels.decode_step.state import DecoderState
from kernels.decode_step.triton_launch import (
    Scratch,
    Tiles,
    launch_attention,
    launch_choice,
    launch_mlp,
    launch_output,
)

_TOKENS = 64
_SPLITS = 8


def begin(
    state: DecoderState,
    weights: Weights,
    vision: Tensor,
    ended: Tensor | None = None,
    *,
    dependent: bool = False,
) -> Tensor:
    """See :func:`kernels.prefill.reference.begin`."""
    vision = vision.contiguous()
    single = state.keys.dtype == torch.float32
    tiles = Tiles(
        rows=state.group.shape[1] + vision.shape[1],
        tokens=_TOKENS,
        splits=_SPLITS,
        wide=32,
        narrow=32,
        precision="tf32x3" if single else "tf32",
        # Where a product is three, threads would run out of registers.
        keys=32 if single else 64,
        depth=32 if single else 64,
        warps=8 if single else 4,
        prefill=True,
        combine=True,
        dependent=dependent,
    )
    scratch = Scratch.allocate(state, weights.layers[0].down.shape[1], tiles)
    for index, layer in enumerate(weights.layers):
        last = index == len(weights.layers) - 1
        launch_attention(state, weights, index, scratch, tiles, vision=vision, only_last=last)
        answering = tiles.of_last_rows() if last else tiles
        launch_output(state, layer.output, scratch, answering)
        launch_mlp(state, weights, layer, scratch, answering)
    return launch_choice(state, weights, scratch, tiles, ended)


VARIANTS: dict[str, Callable[..., Tensor]] = {"dependent": partial(begin, dependent=True)}
"""To be measured beside :func:`begin`."""


def obstacle(name: str, device: torch.device) -> str | None:
    """Say why a variant of that name cannot be launched on a device; None where it can."""
    return dependent_launch.obstacle(device)
