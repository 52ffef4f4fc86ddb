"""How far is the gaze model from a bare loop? ``python -m tests.microbench.bare_loop [RATIO ...]``

The bare loop does the arithmetic of choosing patches and nothing else: a static cache, one causal mask cut to
size, the usual operations in the usual order, a plain arg-max. It checks nothing, stops at nothing and
returns nothing. Both are timed in turn, on the same weights and clip, and their ratio is printed; below 1 the
model is faster than the bare loop.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.models.autogaze import AutoGaze
from tests.reference.cases import gaze_model
from tests.reference.fill import clip

ROUNDS = 7
FRAMES = 16


def bare_loop(model: AutoGaze, video: Tensor, budget: int) -> None:
    """Prefill and step through all frames of a (1, frames, 3, 224, 224) clip, ``budget`` gazes each."""
    arch, net = model.arch, model.gazing_model
    decoder = net.gaze_decoder
    vision = net.see(video)
    frames, tokens = vision.shape[1:3]
    capacity = frames * (tokens + budget)
    keys = torch.zeros(arch.layers, 1, arch.heads, capacity, arch.head_dim)
    values = torch.zeros_like(keys)
    mask = torch.zeros(capacity, capacity).masked_fill_(
        torch.ones(capacity, capacity).triu(1).bool(), -torch.inf
    )
    angle = torch.arange(capacity)[:, None] / 10000 ** torch.linspace(0, 1, arch.head_dim // 2)
    cos, sin = (torch.cat([f(angle)] * 2, dim=-1)[None, None] for f in (torch.cos, torch.sin))

    def rotate(x: Tensor, start: int) -> Tensor:
        end = start + x.shape[2]
        left, right = x.chunk(2, dim=-1)
        return x * cos[:, :, start:end] + torch.cat([-right, left], dim=-1) * sin[:, :, start:end]

    def forward(x: Tensor, start: int) -> Tensor:
        end = start + x.shape[1]
        for i, layer in enumerate(decoder.model.layers):
            attention, mlp = layer.self_attn, layer.mlp
            h = layer.input_layernorm(x)
            q, k, v = (
                p(h).unflatten(-1, (arch.heads, -1)).transpose(1, 2)
                for p in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            keys[i, :, :, start:end] = rotate(k, start)
            values[i, :, :, start:end] = v
            y = F.scaled_dot_product_attention(
                rotate(q, start), keys[i, :, :, :end], values[i, :, :, :end], attn_mask=mask[start:end, :end]
            )
            x = x + attention.o_proj(y.transpose(1, 2).flatten(2))
            h = layer.post_attention_layernorm(x)
            x = x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h))
        return decoder.lm_head(decoder.model.norm(x[:, -1])).view(arch.group, -1).argmax(dim=-1)

    length, group = 0, torch.empty(0, dtype=torch.int64)
    for t in range(frames):
        x = torch.cat([decoder.model.embed_tokens(group)[None], vision[:, t]], dim=1)
        chosen, group = 0, forward(x, length)
        length += x.shape[1]
        while chosen + arch.group < budget:
            chosen += arch.group
            group = forward(decoder.model.embed_tokens(group)[None], length)
            length += arch.group
        group = group[: budget - chosen]


def main(ratios: list[float]) -> None:
    model = gaze_model("full", 14)
    video = clip(29, 1, FRAMES)
    print(f"{torch.get_num_threads()} threads, {FRAMES} frames, {ROUNDS} rounds taken in turn, medians")
    for ratio in ratios:
        budget = int(ratio * model.arch.grid.patches_per_frame)
        calls: list[Callable[[], object]] = [
            partial(model, {"video": video}, gazing_ratio=ratio),
            partial(bare_loop, model, video, budget),
        ]
        with torch.inference_mode():
            rounds = [[_seconds(call) for call in calls] for _ in range(ROUNDS + 1)][1:]
        ours, bare = (statistics.median(times) for times in zip(*rounds, strict=True))
        pairs = [a / b for a, b in rounds]
        print(
            f"ratio {ratio:.2f}: model {ours:.3f} s, bare loop {bare:.3f} s, "
            f"model / bare {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"
        )


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main([float(argument) for argument in sys.argv[1:]] or [0.10, 0.25, 0.75])
