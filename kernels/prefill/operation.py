"""The beginning of a frame as an operation: what it is tried on, and how much work that is."""

import torch

from kernels.decode_step.samples import again, changed, decoder_state, decoder_weights
from kernels.decode_step.state import limit_frame
from kernels.operation import ROUNDING, Inputs, Operation, Shape
from kernels.prefill import reference, triton


def _inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> Inputs:
    """A decoder that has finished a frame, ``cached`` tokens behind it, none for a first one. Each video is a
    bit shorter than the one before, and more of its last group is padded, here and there."""
    generator = torch.Generator().manual_seed(0)
    batch, group, vocabulary, cached = (shape[name] for name in ("batch", "group", "vocabulary", "cached"))
    width = shape["heads"] * shape["head_dim"]
    weights = decoder_weights(shape, dtype, device, generator)
    state = decoder_state(shape, cached + shape["vision"] + 2 * group, dtype, device, generator)
    # What the frame before left behind is all over the books.
    for name in ("group", "pending", "chosen"):
        books = getattr(state, name)
        books.copy_(torch.randint(vocabulary - 1, books.shape, generator=generator))
    state.blocked.fill_(float("-inf"))
    state.finished.fill_(True)
    state.taken.fill_(3 * group)
    limit_frame(state, 3 * group, None)
    for video in range(batch):
        state.length[video] = max(cached - 3 * video, 0)
        padded = group if cached == 0 else 3 * video % group
        state.pending[video, torch.randperm(group, generator=generator)[:padded].to(device)] = state.eos
    vision = torch.randn(batch, shape["vision"], width, generator=generator).to(device, dtype)
    return {"state": state, "weights": weights, "vision": vision}


def _work(shape: Shape, element_size: int) -> tuple[int, int]:
    """The last layer answers for one token; keys that a token may not see are not counted."""
    width, layers, batch = shape["heads"] * shape["head_dim"], shape["layers"], shape["batch"]
    tokens, cached = shape["group"] + shape["vision"], shape["cached"]
    heads = width * shape["group"] * (shape["vocabulary"] + 1)
    answering = (layers - 1) * tokens + 1
    products = layers * tokens * 3 * width**2 + answering * 7 * width**2 + heads
    seen = (layers - 1) * tokens * (cached + (tokens + 1) // 2) + cached + tokens
    flops = batch * (2 * products + 4 * width * seen)
    moved = (
        layers * 10 * width**2 + heads + batch * width * (2 * layers * (cached + tokens) + shape["vision"])
    )
    return flops, element_size * moved


_FULL = {"heads": 6, "head_dim": 32, "layers": 4, "group": 10, "vocabulary": 266, "vision": 196}
_ODD = {"heads": 3, "head_dim": 16, "layers": 2, "group": 10, "vocabulary": 266, "vision": 70}

OPERATION = Operation(
    name="prefill",
    inputs=_inputs,
    reference=reference.begin,
    fast=triton.begin,
    work=_work,
    timed_shapes=tuple(
        {**_FULL, "batch": batch, "cached": cached} for batch in (1, 16, 64) for cached in (0, 3200, 6400)
    ),
    tested_shapes=(
        {**_ODD, "batch": 1, "cached": 0},
        {**_ODD, "batch": 2, "cached": 150},
        {**_ODD, "batch": 1, "cached": 40, "vision": 4},
    ),
    compiled_shapes=(
        {**_FULL, "batch": 1, "cached": 3195},
        # Caches are short here: only the batch could make other launches of these.
        *({**_FULL, "batch": batch, "cached": 11} for batch in (2, 3, 4, 8, 16, 32, 64)),
    ),
    tolerance=ROUNDING,
    variants=triton.VARIANTS,
    variant_obstacle=triton.obstacle,
    changed=changed,
    again=again,
)
