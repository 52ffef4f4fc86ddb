"""Teacher-forced scoring: how likely given gazes are, and what loss is predicted after each."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.attention import FrameLayout, attend
from autogaze.models.autogaze.decoder import DecoderWeights, rotations
from kernels.decode_step.layers import decode, predict


class Scores(NamedTuple):
    """Both (batch, slots), float32."""

    log_probability: Tensor
    """Of the given patch; of EOS where the slot is padded."""
    task_loss_prediction: Tensor
    """Predicted reconstruction loss after the slots up to and including this one."""


def score(
    weights: DecoderWeights,
    vision: Tensor,
    indices: Tensor,
    padded: Tensor,
    slots: list[int],
    backend: str = "sdpa",
) -> Scores:
    """Score gazes in one causal pass, at true positions and with padded gazes unseen.

    ``vision`` (batch, frames, tokens, C); ``indices`` (batch, N) patch index of every slot within its frame,
    ``padded`` (batch, N) True where there is none, ``slots`` their number in each frame. Differentiable.
    """
    arch = weights.arch
    batch, _, vision_tokens, _ = vision.shape
    indices = indices.masked_fill(padded, arch.eos)
    gazes = F.embedding(indices, weights.embedding).split(slots, dim=1)
    x = torch.cat([part for t, gaze in enumerate(gazes) for part in (vision[:, t], gaze)], dim=1)
    seen = padded.new_zeros(batch, vision_tokens)
    padding = torch.cat([part for frame in padded.split(slots, dim=1) for part in (seen, frame)], dim=1)

    positions = ((~padding).cumsum(dim=1) - 1).clamp(min=0)
    table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, x.shape[1], x.device)
    layout = FrameLayout(tuple(vision_tokens + n for n in slots), padding=padding, kind="causal")
    hidden = decode(
        x, weights, arch.heads, table[positions], lambda _, q, k, v: attend(q, k, v, layout, backend)
    )

    # Groups are predicted at the token before them: slot s of a frame by head s mod 10 of source s // 10. The
    # loss after slot s is told where slot s + 1 would be predicted.
    sources, first_source, number = _sources(slots, vision_tokens, arch.group, x.device)
    # (batch, sources, group, vocabulary), (batch, sources, group)
    logits, losses = predict(hidden[:, sources], weights, arch.group)
    own = first_source + number // arch.group
    log_probability = logits.log_softmax(dim=-1)[:, own, number % arch.group]
    following = number + 1
    return Scores(
        log_probability.gather(-1, indices[..., None])[..., 0],
        losses[:, first_source + following // arch.group, following % arch.group],
    )


def _sources(
    slots: list[int], vision_tokens: int, group: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the places of the tokens that predict, and for every slot its frame's first source and its own
    number."""
    sources: list[Tensor] = []
    first_source: list[Tensor] = []
    numbers: list[Tensor] = []
    start = 0
    for n in slots:
        first_source.append(torch.full((n,), sum(len(source) for source in sources), device=device))
        numbers.append(torch.arange(n, device=device))
        sources.append(start + vision_tokens - 1 + group * torch.arange(n // group + 1, device=device))
        start += vision_tokens + n
    return torch.cat(sources), torch.cat(first_source), torch.cat(numbers)
