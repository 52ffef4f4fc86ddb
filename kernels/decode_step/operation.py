"""The decoder's step as an operation: what it is tried on, and how much work that is."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kernels.decode_step import native, reference, triton
from kernels.decode_step.reference import DecoderState
from kernels.operation import ROUNDING, Inputs, Operation, Shape


def _inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> Inputs:
    """A decoder in the middle of a frame, ``cached`` tokens behind it; the second video is a bit shorter."""
    generator = torch.Generator().manual_seed(0)
    batch, heads, head_dim, layers = shape["batch"], shape["heads"], shape["head_dim"], shape["layers"]
    width, mlp, group, vocabulary = (
        heads * head_dim,
        2 * heads * head_dim,
        shape["group"],
        shape["vocabulary"],
    )
    slots = shape["cached"] + 2 * group

    def matrix(rows: int, columns: int) -> Tensor:
        values = torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
        return values.to(device, dtype)

    def layer() -> SimpleNamespace:
        scale = width**0.5  # norms leave vectors of length one; their gains are folded in here
        return SimpleNamespace(
            query_key_value=matrix(3 * width, width) * scale, output=matrix(width, width),
            gate_up=matrix(2 * mlp, width) * scale, down=matrix(width, mlp),
        )  # fmt: skip

    weights = SimpleNamespace(
        embedding=torch.randn(vocabulary, width, generator=generator).to(device, dtype),
        layers=tuple(layer() for _ in range(layers)),
        norm_floor=torch.tensor(0.01, device=device),
        heads=matrix(group * vocabulary + group, width) * width**0.5,
    )
    angle = torch.rand(slots + 1, head_dim // 2, generator=generator) * 6.28
    length = torch.full((batch,), shape["cached"], dtype=torch.int32)
    length[1:] -= group // 2
    cache = [
        torch.randn(layers, batch, heads, slots + 1, head_dim, generator=generator).to(device, dtype)
        for _ in range(2)
    ]
    chosen = torch.stack([torch.randperm(vocabulary - 1, generator=generator)[:group] for _ in range(batch)])
    blocked = torch.zeros(batch, vocabulary).scatter_(1, chosen, float("-inf"))
    blocked[:, -1] = float("-inf")
    state = DecoderState(
        keys=cache[0],
        values=cache[1],
        rotation=torch.stack([angle.cos(), angle.sin()], dim=-1).to(device),
        length=length.to(device),
        step_position=(length - group).to(device),
        group=chosen.to(device),
        pending=chosen.to(device).clone(),
        blocked=blocked.to(device),
        requirement=torch.full((batch,), float("-inf"), device=device),
        budget=torch.tensor(3 * group, dtype=torch.int32, device=device),
        taken=torch.full((batch,), group, dtype=torch.int32, device=device),
        finished=torch.zeros(batch, dtype=torch.bool, device=device),
        chosen=torch.full((batch, 4 * group), vocabulary - 1, device=device),
    )
    return {"state": state, "weights": weights}


def _on_a_copy(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``step`` that leaves the small tensors of its state as they were, so that it can be repeated."""

    def call(state: DecoderState, weights: Any) -> Tensor:
        before = {name: getattr(state, name).clone() for name in _CHANGED}
        predictions = step(state, weights)
        for name, value in before.items():
            getattr(state, name).copy_(value)
        return predictions

    return call


_CHANGED = ("length", "group", "pending", "blocked", "taken", "finished", "chosen")


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
    reference=_on_a_copy(reference.step),
    fast=_on_a_copy(triton.step),
    work=_work,
    timed_shapes=tuple(
        {**_FULL, "batch": batch, "cached": cached} for batch in (1, 16, 64) for cached in (400, 3200, 6400)
    ),
    tested_shapes=(
        {**_ODD, "batch": 1, "cached": 25},
        {**_ODD, "batch": 2, "cached": 150},
        {**_FULL, "batch": 1, "cached": 70},
    ),
    compiled_shapes=({**_FULL, "batch": 1, "cached": 400},),
    tolerance=ROUNDING,
    native=_on_a_copy(native.step),
)
