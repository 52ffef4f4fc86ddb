"""Attention over intervals as an operation: what it is tried on, and how much work that is."""

import torch

from kernels.block_causal_attention import reference, triton
from kernels.operation import ROUNDING, Inputs, Operation, Shape


def _inputs(shape: Shape, dtype: torch.dtype, device: torch.device) -> Inputs:
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
    class_key = torch.zeros(tokens, dtype=torch.int32, device=device) if shape.get("class_key") else None
    return {
        "query": query,
        "key": key,
        "value": value,
        "first": first.to(device),
        "end": end.to(device, torch.int32),
        "class_key": class_key,
    }


def _work(shape: Shape, element_size: int) -> tuple[int, int]:
    tokens, frames, width = shape["tokens"], shape["frames"], shape["heads"] * shape["head_dim"]
    pairs = tokens * tokens * (frames + 1) // (2 * frames)
    return 4 * width * pairs, 4 * tokens * width * element_size


OPERATION = Operation(
    name="block_causal_attention",
    inputs=_inputs,
    reference=reference.interval_attention,
    fast=triton.interval_attention,
    work=_work,
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
        {"tokens": 300, "frames": 4, "heads": 2, "head_dim": head_dim, "class_key": class_key}
        for head_dim in (16, 32, 64, 96, 128)
        for class_key in (0, 1)
    ),
    tolerance=ROUNDING,
)
