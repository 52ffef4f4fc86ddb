"""The decoder's step as an operation: what it is tried on, and how much work that is."""

import torch

from kernels.decode_step import native, reference, triton
from kernels.decode_step.samples import again, changed, decoder_state, decoder_weights
from kernels.decode_step.state import begin_frame, limit_frame
from kernels.operation import ROUNDING, Inputs, Operation, Shape


def _inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> Inputs:
    """A decoder in the middle of a frame, ``cached`` tokens behind it; the second video is a bit shorter."""
    generator = torch.Generator().manual_seed(0)
    batch, group, vocabulary = shape["batch"], shape["group"], shape["vocabulary"]
    slots = shape["cached"] + 2 * group
    weights = decoder_weights(shape, dtype, device, generator)
    state = decoder_state(shape, slots, dtype, device, generator)
    chosen = torch.stack([torch.randperm(vocabulary - 1, generator=generator)[:group] for _ in range(batch)])
    limit_frame(state, 3 * group, None)
    begin_frame(state)
    state.length.fill_(shape["cached"])
    state.length[1:] -= group // 2
    state.step_position.copy_(state.length - group)
    state.group.copy_(chosen)
    state.pending.copy_(chosen)
    state.blocked.scatter_(1, state.group, float("-inf"))
    state.taken.fill_(group)
    return {"state": state, "weights": weights, "sequential": bool(shape.get("sequential"))}


def _work(shape: Shape, element_size: int) -> tuple[int, int]:
    width, layers, group, batch = (
        shape["heads"] * shape["head_dim"],
        shape["layers"],
        shape["group"],
        shape["batch"],
    )
    weights = layers * 10 * width * width + width * group * (shape["vocabulary"] + 1)
    cached = 2 * layers * width * (shape["cached"] + group)
    flops = batch * (2 * group * layers * 10 * width * width + 2 * group * cached)
    return flops, element_size * (weights + batch * cached)


_FULL = {"heads": 6, "head_dim": 32, "layers": 4, "group": 10, "vocabulary": 266}
_ODD = {"heads": 3, "head_dim": 16, "layers": 2, "group": 10, "vocabulary": 266}

OPERATION = Operation(
    name="decode_step",
    inputs=_inputs,
    reference=reference.step,
    fast=triton.step,
    work=_work,
    timed_shapes=tuple(
        {**_FULL, "batch": batch, "cached": cached} for batch in (1, 16, 64) for cached in (400, 3200, 6400)
    ),
    tested_shapes=(
        {**_ODD, "batch": 1, "cached": 25},
        {**_ODD, "batch": 2, "cached": 150},
        {**_FULL, "batch": 1, "cached": 70},
    ),
    compiled_shapes=(
        {**_FULL, "batch": 1, "cached": 3195, "sequential": 0},
        {**_FULL, "batch": 1, "cached": 3195, "sequential": 1},
        # Caches are short here: only the batch could make other launches of these.
        *({**_FULL, "batch": batch, "cached": 11} for batch in (2, 3, 4, 8, 16, 32, 64)),
    ),
    tolerance=ROUNDING,
    native=native.step,
    variants=triton.VARIANTS,
    variant_obstacle=triton.obstacle,
    changed=changed,
    again=again,
)
