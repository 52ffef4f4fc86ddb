"""Every operation: what goes in, what it means, its fast forms, and when they agree with it.

To add one, make a folder with ``reference.py`` and ``triton.py`` and give it an entry in :data:`OPERATIONS`;
the tests, the compile check and the ``kernels`` suite go through the registry and need no change.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from kernels.block_causal_attention import reference as attention_reference
from kernels.block_causal_attention import triton as attention_triton
from kernels.decode_step import native as step_native
from kernels.decode_step import reference as step_reference
from kernels.decode_step import triton as step_triton

Shape = Mapping[str, int]
"""Named sizes."""
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One operation. ``reference``, ``fast`` and ``native`` take the same keyword arguments and return one
    tensor."""

    name: str
    inputs: Callable[[Shape, torch.dtype, torch.device], Inputs]
    """Seeded arguments for a shape."""
    reference: Callable[..., Tensor]
    fast: Callable[..., Tensor]
    work: Callable[[Shape, int], tuple[int, int]]
    """(FLOPs, least bytes moved) for a shape and the bytes of an element."""
    timed_shapes: tuple[Shape, ...]
    tested_shapes: tuple[Shape, ...]
    """Small and odd ones, for the interpreter."""
    compiled_shapes: tuple[Shape, ...]
    tolerance: Mapping[torch.dtype, float]
    """Largest difference from the reference, relative to the reference's standard deviation."""
    native: Callable[..., Tensor] | None = None
    """A form for float32 on a CPU; None where there is none."""

    def disagreement(self, inputs: Inputs, fast: Tensor) -> float:
        """Return the largest difference of ``fast`` from the reference, relative to the reference's
        deviation."""
        expected = self.reference(**inputs).float()
        spread = expected.std() if expected.numel() > 1 else expected.abs()
        return float((fast.float() - expected).abs().max() / spread) if expected.numel() else 0.0


# Rounding of one float32 sum of a few hundred terms, and of one stored half-precision value times a few.
_TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def _attention_inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> Inputs:
    """Block-causal tokens of ``frames`` frames behind a class token; the last frame but one is empty, sizes
    vary."""
    generator = torch.Generator().manual_seed(0)
    frames, tokens = shape["frames"], shape["tokens"]
    frame = torch.randint(frames, (tokens - 1,), generator=generator)
    counts = frame.bincount(minlength=frames).tolist()
    if shape.get("even"):
        counts = [(tokens - 1) // frames] * frames
        counts[-1] += tokens - 1 - sum(counts)
    elif frames > 2:
        counts[-1] += counts[-2]
        counts[-2] = 0
    ends = torch.cumsum(torch.tensor([1, *counts]), 0)
    end = ends.repeat_interleave(torch.tensor([1, *counts]))
    size = (tokens, shape["heads"], shape["head_dim"])
    query, key, value = (torch.randn(size, generator=generator).to(device, dtype) for _ in range(3))
    first = torch.zeros(tokens, dtype=torch.int32)
    return {
        "query": query,
        "key": key,
        "value": value,
        "first": first.to(device),
        "end": end.to(device, torch.int32),
    }


def _attention_work(shape: Shape, element_size: int) -> tuple[int, int]:
    tokens, frames, width = shape["tokens"], shape["frames"], shape["heads"] * shape["head_dim"]
    pairs = tokens * tokens * (frames + 1) // (2 * frames)
    return 4 * width * pairs, 4 * tokens * width * element_size


def _step_inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> Inputs:
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
    state = step_reference.DecoderState(
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

    def call(state: step_reference.DecoderState, weights: Any) -> Tensor:
        before = {name: getattr(state, name).clone() for name in _CHANGED}
        predictions = step(state, weights)
        for name, value in before.items():
            getattr(state, name).copy_(value)
        return predictions

    return call


_CHANGED = ("length", "group", "pending", "blocked", "taken", "finished", "chosen")


def _step_work(shape: Shape, element_size: int) -> tuple[int, int]:
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

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation(
            name="block_causal_attention",
            inputs=_attention_inputs,
            reference=attention_reference.interval_attention,
            fast=attention_triton.interval_attention,
            work=_attention_work,
            timed_shapes=tuple(
                {"tokens": tokens, "frames": 16, "heads": 16, "head_dim": head_dim, "even": 1}
                for tokens in (1057, 4241, 8481)
                for head_dim in (64, 128)
            ),
            tested_shapes=tuple(
                {"tokens": tokens, "frames": frames, "heads": 2, "head_dim": head_dim}
                for tokens, frames, head_dim in (
                    (1, 1, 16),
                    (37, 5, 48),
                    (131, 4, 32),
                    (70, 3, 64),
                    (66, 2, 128),
                )
            ),
            compiled_shapes=tuple(
                {"tokens": 300, "frames": 4, "heads": 2, "head_dim": head_dim}
                for head_dim in (16, 32, 64, 96, 128)
            ),
            tolerance=_TOLERANCE,
        ),
        Operation(
            name="decode_step",
            inputs=_step_inputs,
            reference=_on_a_copy(step_reference.step),
            fast=_on_a_copy(step_triton.step),
            work=_step_work,
            timed_shapes=tuple(
                {**_FULL, "batch": batch, "cached": cached}
                for batch in (1, 16, 64)
                for cached in (400, 3200, 6400)
            ),
            tested_shapes=(
                {**_ODD, "batch": 1, "cached": 25},
                {**_ODD, "batch": 2, "cached": 150},
                {**_FULL, "batch": 1, "cached": 70},
            ),
            compiled_shapes=({**_FULL, "batch": 1, "cached": 400},),
            tolerance=_TOLERANCE,
            native=_on_a_copy(step_native.step),
        ),
    )
}
"""Operation name to operation."""
