"""Teacher-forced scoring: how likely given gazes are, and what loss is predicted after each."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.models.autogaze.causal import causal_attention
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import DecoderWeights, rotations
from autogaze.models.autogaze.generation import StepPositions
from kernels.decode_step.layers import decode, predict


class Predictions(NamedTuple):
    """What the model says at every slot, from the gazes in the slots before it."""

    logits: Tensor
    """(batch, slots, vocabulary); -inf for what a sampling policy forbids."""
    task_loss: Tensor
    """(batch, slots) float32: the reconstruction loss after the slots up to and including this one."""


class Scores(NamedTuple):
    """Both (batch, slots), float32."""

    log_probability: Tensor
    """Of the given patch; where the slot is padded, of EOS, or 0 under a sampling policy."""
    task_loss_prediction: Tensor
    """Predicted reconstruction loss after the slots up to and including this one."""


def score(
    weights: DecoderWeights,
    vision: Tensor,
    indices: Tensor,
    padded: Tensor,
    slots: list[int],
    backend: str = "sdpa",
    *,
    temperature: float | None = None,
    step_positions: StepPositions = "sequential",
) -> Scores:
    """Score gazes in one causal pass, with padded gazes unseen: each sees what is real before it, and the
    group after it is predicted from that. Differentiable.

    The arguments are those of :func:`predictions`. Probabilities are those of its logits over the whole
    vocabulary; that is the released scoring. With a ``temperature`` they are those that generation samples
    by: of softmax(logits / temperature) without EOS and without the frame's earlier gazes.
    """
    made = predictions(
        weights, vision, indices, padded, slots, backend,
        as_policy=temperature is not None, step_positions=step_positions,
    )  # fmt: skip
    logits = made.logits if temperature is None else made.logits / temperature
    chosen = indices.masked_fill(padded, weights.arch.eos)[..., None]
    log_probability = logits.log_softmax(dim=-1).gather(-1, chosen)[..., 0]
    return Scores(
        log_probability if temperature is None else log_probability.masked_fill(padded, 0.0),
        made.task_loss,
    )


def predictions(
    weights: DecoderWeights,
    vision: Tensor,
    indices: Tensor,
    padded: Tensor,
    slots: list[int],
    backend: str = "sdpa",
    *,
    as_policy: bool = False,
    step_positions: StepPositions = "sequential",
) -> Predictions:
    """Return what the model predicts at every slot, in one causal pass over given gazes. Differentiable.

    ``vision`` (batch, frames, tokens, C); ``indices`` (batch, N) patch index of every slot within its frame,
    ``padded`` (batch, N) True where there is none, ``slots`` their number in each frame. ``as_policy``
    forbids what generation forbids, EOS and the frame's earlier gazes.

    Hidden states are at true positions. With ``step_positions`` as in generation
    (:class:`~autogaze.models.autogaze.generation.GazeRequest`) they are generation's.
    """
    arch = weights.arch
    batch, _, vision_tokens, _ = vision.shape
    indices = indices.masked_fill(padded, arch.eos)
    gazes = F.embedding(indices, weights.embedding).split(slots, dim=1)
    x = torch.cat([part for t, gaze in enumerate(gazes) for part in (vision[:, t], gaze)], dim=1)
    seen = padded.new_zeros(batch, vision_tokens)
    padding = torch.cat([part for frame in padded.split(slots, dim=1) for part in (seen, frame)], dim=1)

    positions = ((~padding).cumsum(dim=1) - 1).clamp(min=0)
    if step_positions == "released":
        positions = _released_positions(positions, padded, slots, vision_tokens, arch.group)
    table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, x.shape[1], x.device)
    # Groups are predicted at the token before them: slot s of a frame by head s mod 10 of source s // 10. The
    # loss after slot s is told where slot s + 1 would be predicted.
    sources, first_source, number = _sources(slots, vision_tokens, arch.group, x.device)
    attention = causal_attention(tuple(vision_tokens + n for n in slots), padding, backend, sources)
    hidden = decode(x, weights, arch.heads, table[positions], attention)
    # (batch, sources, group, vocabulary), (batch, sources, group)
    logits, losses = predict(hidden[:, sources], weights, arch.group)
    own, following = first_source + number // arch.group, number + 1
    logits = logits[:, own, number % arch.group]  # (batch, N, vocabulary)
    if as_policy:
        logits = logits.masked_fill(_excluded(indices, slots, arch), float("-inf"))
    return Predictions(logits, losses[:, first_source + following // arch.group, following % arch.group])


def _excluded(indices: Tensor, slots: list[int], arch: Architecture) -> Tensor:
    """Return (batch, N, vocabulary): what generation forbids at a slot, EOS and earlier gazes of the
    frame."""
    chosen = F.one_hot(indices, arch.vocabulary).split(slots, dim=1)
    excluded = torch.cat([frame.cumsum(dim=1) - frame for frame in chosen], dim=1) > 0
    # A padded slot holds EOS; leaving it open there keeps the probabilities finite.
    excluded[..., arch.eos] = indices != arch.eos
    return excluded


def _released_positions(
    positions: Tensor, padded: Tensor, slots: list[int], vision_tokens: int, group: int
) -> Tensor:
    """Return (batch, length) positions as the released loop has them.

    Every group of a frame but the last is fed at the positions of the frame's last vision tokens; the last
    one enters with the next frame, at its true positions.
    """
    positions = positions.clone()
    start = 0
    for n, own_padding in zip(slots, padded.split(slots, dim=1), strict=True):
        number = torch.arange(n, device=positions.device)
        last_real = (number * ~own_padding).amax(dim=1, keepdim=True)
        fed_as_step = number // group < last_real // group
        frame = slice(start + vision_tokens, start + vision_tokens + n)
        last_vision = positions[:, frame.start - 1, None]
        positions[:, frame] = torch.where(
            fed_as_step, last_vision - (group - 1) + number % group, positions[:, frame]
        )
        start = frame.stop
    return positions


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
