"""Where the training of a gaze model starts: able to point, and to tell where it has looked.

The first group of a frame is read off one token, which has to say in 192 numbers where in the picture there
is most to see. From random weights that takes long to come about. Here the weights are set so that attention
is pointing, and what is left to learn is at what:

* Frames enter as the leading cosine coefficients of their patches, scaled to even variance, so that fine
  detail is as loud as brightness.
* Every place has a code, random waves over the picture (Rahimi and Recht, 2007), which vision tokens and the
  tokens of gazed patches carry alike. Heads hand on the code of what they look at, into channels of their
  own, and logits are how well these agree with the code of each patch. All heads of a group begin alike: as
  each forbids its choice to the next, together they choose the best ten.
* Half of the heads of the first layer look for gazed patches at a token's own place, on the rotary channels
  that hardly turn, and note their scales.

Perceptrons begin as the identity. All of it is learnt further.
"""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from autogaze.cosines import cosine_basis
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import DecoderLayer
from autogaze.models.autogaze.modeling_autogaze import AutoGaze
from autogaze.models.autogaze.vision import CausalConvBlock

_WAVE = 1.1
"""Standard deviation of the waves' frequencies: radians to a vision token."""
_STILL = 9 / 16
"""Share of a head's rotary pairs that turn too fast to tell places over a whole clip."""
_AGREEMENT = 0.1
"""Logit of a patch for each channel in which what is pointed at agrees with its code."""
_LOOKS_FOR_GAZES = 2.0
"""Weights that make a token look for gazed patches rather than at vision tokens."""


class _Channels:
    """What each channel of the decoder's tokens is for."""

    def __init__(self, arch: Architecture) -> None:
        scales = len(arch.grid.scales)
        self.places = 2 * max(1, min(arch.head_dim // 2, (arch.width - 3 - 2 * scales) // 6))
        self.own = slice(0, self.places)
        self.pointed = slice(self.places, 2 * self.places)
        self.one = 2 * self.places
        self.gazed = self.one + 1
        self.scale = slice(self.gazed + 1, self.gazed + 1 + scales)
        self.seen = slice(self.scale.stop, self.scale.stop + scales)
        self.content = slice(self.seen.stop, arch.width)


@torch.no_grad()
def initialize(model: AutoGaze, seed: int) -> None:
    """Set the weights of ``model``; what is random in them follows from ``seed``, the same on every
    machine."""
    arch, gaze = model.arch, model.gazing_model
    channels, stream = _Channels(arch), np.random.RandomState(seed)
    trunk = gaze.vision_model
    patterns, sizes = cosine_basis(arch.vision_width, arch.patch_size)
    count = len(patterns)
    trunk.temporal_conv.weight.zero_()[:count, :, 0] = patterns * (0.5 / sizes)[:, None, None, None]
    for block in trunk.blocks:
        _fill(cast(CausalConvBlock, block).conv3d.weight, stream)
    _fill(trunk.out_proj.weight, stream)
    trunk.out_proj.weight[: channels.content.start] = 0
    codes = _place_codes(arch, channels, stream)
    fine = torch.zeros(arch.vision_tokens, arch.width)
    fine[:, channels.own], fine[:, channels.one] = codes[-arch.vision_tokens :], 1.0
    gaze.connector.pos_embed.copy_(fine)
    decoder = gaze.gaze_decoder
    embedding = decoder.model.embed_tokens.weight.zero_()
    embedding[: len(codes), channels.own] = codes
    embedding[:, channels.one] = embedding[: len(codes), channels.gazed] = 1.0
    number = torch.tensor(arch.grid.counts)
    scale = torch.arange(len(number)).repeat_interleave(number)
    embedding[torch.arange(len(codes)), channels.scale.start + scale] = 1.0
    heads = decoder.lm_head.weight.zero_().view(arch.group, arch.vocabulary, arch.width)
    heads[:, : len(codes), channels.pointed] = _AGREEMENT * codes
    decoder.task_loss_prediction_head.weight.zero_()
    for depth, layer in enumerate(decoder.model.layers):
        _initialize_layer(cast(DecoderLayer, layer), arch, channels, stream, first=depth == 0)


def _initialize_layer(
    layer: DecoderLayer,
    arch: Architecture,
    channels: _Channels,
    stream: np.random.RandomState,
    *,
    first: bool,
) -> None:
    attention, mlp = layer.self_attn, layer.mlp
    for matrix in (attention.q_proj, attention.k_proj, mlp.gate_proj, mlp.up_proj):
        _fill(matrix.weight, stream)
    for matrix in (attention.v_proj, attention.o_proj, mlp.down_proj):
        matrix.weight.zero_()
    size, half = arch.head_dim, arch.head_dim // 2
    for head in range(arch.heads):
        rows = slice(head * size, (head + 1) * size)
        query, key, value = (
            matrix.weight[rows] for matrix in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        output = attention.o_proj.weight[:, rows]
        if not first or head >= arch.heads // 2:
            value[: channels.places, channels.own] = torch.eye(channels.places)
            output[channels.pointed, : channels.places] = torch.eye(channels.places)
            continue
        query.zero_()
        key.zero_()
        still = range(round(_STILL * half), half)
        for wave, pair in zip(range(channels.places // 2), still, strict=False):
            for row, channel in ((pair, 2 * wave), (pair + half, 2 * wave + 1)):
                query[row, channel] = key[row, channel] = 1.0
        query[still.start - 1, channels.one] = key[still.start - 1, channels.gazed] = _LOOKS_FOR_GAZES
        noted = channels.seen.stop - channels.seen.start
        value[:noted, channels.scale] = torch.eye(noted)
        output[channels.seen, :noted] = torch.eye(noted) / (arch.heads // 2)


def _place_codes(arch: Architecture, channels: _Channels, stream: np.random.RandomState) -> Tensor:
    """Return (patches, places): the code of every patch, a coarse one's that of the area it covers."""
    side = arch.grid.sides[-1]
    frequency = torch.from_numpy(_WAVE * stream.standard_normal((channels.places // 2, 2))).float()
    codes = []
    for count in arch.grid.sides:
        along = (torch.arange(count) + 0.5) * side / count
        points = torch.stack([along.repeat(count), along.repeat_interleave(count)], dim=1)
        angle = points @ frequency.T
        # The mean of a wave over an area.
        spread = torch.sinc(frequency * side / count / (2 * math.pi)).prod(dim=1)
        waves = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1) * spread[:, None]
        code = waves.flatten(1)
        codes.append(code * math.sqrt(channels.places / 2) / code.norm(dim=1, keepdim=True))
    return torch.cat(codes)


def _fill(weight: Tensor, stream: np.random.RandomState) -> None:
    """Fill with normal numbers of unit variance per input."""
    values = torch.from_numpy(stream.standard_normal(tuple(weight.shape)).astype(np.float32))
    weight.copy_(values / math.sqrt(weight[0].numel()))
