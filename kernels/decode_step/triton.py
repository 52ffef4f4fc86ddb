"""One step of the gaze decoder, entirely on the device: the fast form.

Five launches a layer (:mod:`kernels.decode_step.triton_layer`, :mod:`kernels.decode_step.triton_attention`)
and two for the choice (:mod:`kernels.decode_step.triton_choice`), each reading weights and cache once:

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
from functools import partial

import torch
from torch import Tensor

from kernels import dependent_launch
from kernels.decode_step.layers import Weights
from kernels.decode_step.state import DecoderState
from kernels.decode_step.triton_launch import (
    MOST_SPLITS,
    Scratch,
    Tiles,
    launch_attention,
    launch_choice,
    launch_mlp,
    launch_output,
)
from kernels.decode_step.triton_rows import LEAST_ROWS
from kernels.decode_step.variants import PLAIN, STEPS, Variant


def step(
    state: DecoderState,
    weights: Weights,
    sequential: bool = False,
    ended: Tensor | None = None,
    *,
    variant: Variant = PLAIN,
) -> Tensor:
    """See :func:`kernels.decode_step.reference.step`."""
    tiles = tiles_of(state, variant)
    scratch = Scratch.allocate(state, weights.layers[0].down.shape[1], tiles)
    for index, layer in enumerate(weights.layers):
        launch_attention(state, weights, index, scratch, tiles, sequential=sequential)
        launch_output(state, layer.output, scratch, tiles)
        launch_mlp(state, weights, layer, scratch, tiles)
    return launch_choice(state, weights, scratch, tiles, ended)


VARIANTS: dict[str, Callable[..., Tensor]] = {
    name: partial(step, variant=variant) for name, variant in STEPS.items()
}
"""Steps to be measured beside :func:`step`."""


def obstacle(name: str, device: torch.device) -> str | None:
    """Say why a variant of that name cannot be launched on a device; None where it can."""
    return dependent_launch.obstacle(device) if STEPS[name].dependent else None


def tiles_of(state: DecoderState, variant: Variant) -> Tiles:
    single = state.keys.dtype == torch.float32
    plain = variant.ieee and single
    return Tiles(
        rows=state.group.shape[1],
        tokens=LEAST_ROWS.value,
        splits=MOST_SPLITS,
        wide=16 if plain else 64,
        narrow=16 if plain else 32,
        precision="ieee" if plain else "tf32x3" if single else "tf32",
        warps=8 if plain else 4,
        # All there are: ptxas would otherwise spill a few for one more block on a processor.
        registers=255 if plain or variant.dependent else None,
        combine=variant.combine_in_attend,
        dependent=variant.dependent,
    )
