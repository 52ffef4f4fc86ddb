"""Sample decoders to try an operation on: seeded weights, and a state on caches that are full of noise."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kernels.decode_step.state import DecoderState
from kernels.operation import Inputs, Shape


def decoder_state(
    shape: Shape, slots: int, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> DecoderState:
    """Return a state of ``shape`` with room for so many ``slots`` and three groups a frame."""
    angle = torch.rand(slots + 1, shape["head_dim"] // 2, generator=generator) * 6.28
    cache = (shape["layers"], shape["batch"], shape["heads"], slots + 1, shape["head_dim"])
    keys, values = (torch.randn(cache, generator=generator).to(device, dtype) for _ in range(2))
    return DecoderState.allocate(
        keys, values, torch.stack([angle.cos(), angle.sin()], dim=-1).to(device),
        group=shape["group"], vocabulary=shape["vocabulary"], most=3 * shape["group"],
    )  # fmt: skip


def decoder_weights(
    shape: Shape, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> Any:
    """Return the weights of a decoder of ``shape``, of which nothing grows from layer to layer."""
    width, group, vocabulary = shape["heads"] * shape["head_dim"], shape["group"], shape["vocabulary"]
    mlp = 2 * width

    def matrix(rows: int, columns: int) -> Tensor:
        values = torch.randn(rows, columns, generator=generator) / math.sqrt(columns)
        return values.to(device, dtype)

    def layer() -> SimpleNamespace:
        scale = width**0.5  # norms leave vectors of length one; their gains are folded in here
        return SimpleNamespace(
            query_key_value=matrix(3 * width, width) * scale, output=matrix(width, width),
            gate_up=matrix(2 * mlp, width) * scale, down=matrix(width, mlp),
        )  # fmt: skip

    return SimpleNamespace(
        embedding=torch.randn(vocabulary, width, generator=generator).to(device, dtype),
        layers=tuple(layer() for _ in range(shape["layers"])),
        norm_floor=torch.tensor(0.01, device=device),
        heads=matrix(group * vocabulary + group, width) * width**0.5,
    )


def changed(inputs: Inputs) -> list[Tensor]:
    """Return what a launch changes, as :attr:`kernels.operation.Operation.changed`: the books of the state.
    The slots of the cache that it fills are filled again by the next one on the same state."""
    return list(inputs["state"].books.values())


def again(inputs: Inputs) -> Inputs:
    """Return the inputs once more, as :attr:`kernels.operation.Operation.again`: with books of their own."""
    copies = {name: tensor.clone() for name, tensor in inputs["state"].books.items()}
    return {**inputs, "state": replace(inputs["state"], **copies)}
