"""Initial weights of a gaze model that sees detail, knows where it has looked, and points.

From random weights a model soon learns how likely each scale is to be worth a look, and hardly ever where:
the first group of a frame is read off one token, which has to hear of all places, and of what was shown of
each before. Here the weights are set so that the way is there, and what is left to learn is how much each
thing counts.

* **Detail.** Frames enter as the leading cosine coefficients of their patches. Two channels of the patch
  convolution are constant and large, so that the LayerNorm after it divides all patches by about the same:
  else a faint pattern would look like a strong one. Rectified sums of coefficients of a band, and of their
  change since the frame before, add up to how much there is of it: the *energies*.
* **Places.** Vision tokens and the tokens of gazed patches carry the code of their place
  (:func:`autogaze.initialization.gaze_model.cosine_codes`).
* **Memory.** Four heads of the first layer find, for every vision token, the gazed patches that lie over it,
  of the finest scale and of the next, each with a shorter and a longer memory. They compare places on waves
  that rotary channels which hardly turn can hold, and age on a pair that turns by less than half over a clip.
  A token that finds none sees itself.
* **Pointing.** The last layer's first heads look at the frame's vision tokens, the more the more energy there
  is and the less was seen of them, and hand on their places. Logits are how well these agree with the place
  of each patch: finest patches by what three heads point at, coarser ones by a fourth.

What does it: on painted clips this start, untaught, reconstructs at ratio 0.05 with a loss of 0.67 where the
same without a memory has 1.03. Perceptrons begin as the identity, and all of it is learnt further. A model
that is too small for it starts at random.
"""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid, cover
from autogaze.initialization.dct import cosine_basis, cosine_frequencies
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import rotations
from autogaze.models.autogaze.decoder_stack import DecoderLayer
from autogaze.models.autogaze.modeling_autogaze import AutoGaze
from autogaze.models.autogaze.vision import CausalConvBlock, VisionTrunk

_STEADY = 20.0
"""Value of the two constant channels: well above the length of what a patch usually has, about 7."""

_ENERGIES = (
    # Change since the frame before?, lowest and first too high frequency, sums, their usual mean.
    (False, 0, 1, 3, 0.55),
    (False, 1, 3, 12, 0.20),
    (False, 3, 5, 12, 0.12),
    (False, 5, 8, 12, 0.08),
    (False, 8, 16, 12, 0.06),
    (True, 0, 1, 3, 0.15),
    (True, 1, 5, 12, 0.10),
    (True, 5, 16, 8, 0.06),
)
_WORTH_FINE = (0.0, 0.2, 0.3, 0.3, 0.3, 0.1, 0.0, 0.0)
_WORTH_COARSE = (0.2, 0.1, 0.3, 0.4, -0.1, 0.2, 0.2, 0.0)
"""Nats that each energy adds to how much a place is pointed at; from what patches promised on painted
clips."""

_MEMORIES = (
    # Scales below the finest, frames that it reaches back, highest frequency of its waves (radians a token),
    # and how much more than itself a token likes what it finds, on account of the tokens' lengths (nats).
    (0, 1.5, 2.0, 4.5),
    (0, 4.5, 2.0, 4.5),
    (1, 1.5, 1.1, 9.0),
    (1, 4.5, 1.1, 9.0),
)
_SEEN_FINE = (1.5, 1.5, 0.7, 0.0)
_SEEN_COARSE = (0.5, 0.5, 1.5, 1.5)
"""Nats that what each memory holds takes off."""

_WAVES = 6
_SAME_PLACE = 4.7
"""Nats of each wave that agrees."""
_FOUND = 3.0
"""Nats by which a gaze just made is liked more than the token itself; age takes them off."""
_OTHER_SCALE = 30.0
_FRAME = 225
"""Tokens of a frame, about: its vision tokens and some gazes."""
_THIS_FRAME = 6.0
"""Nats that speak for the frame's own tokens."""
_NO_GAZE = 12.0
"""Nats that speak against pointing at the token of a gaze."""
_LOUD = 40.0
"""How much louder than a token's own place it is what it points at."""
_FINE_LOGIT, _COARSE_LOGIT = 0.13, 0.2
_COARSER = (-20.0, -40.0)
"""Logits that are taken off the scales coarser than the two finest, the coarsest more."""


class _Channels:
    """What each channel of the decoder's tokens is for."""

    def __init__(self, arch: Architecture) -> None:
        self.places = 3 * arch.head_dim
        self.own = slice(0, self.places)
        """A token's place; in the end also what is pointed at."""
        self.coarse = slice(self.places, 4 * arch.head_dim)
        self.one = self.coarse.stop
        self.gazed = self.one + 1
        self.centre = self.gazed + 1
        scales = len(arch.grid.scales)
        self.scale = slice(self.centre + 1, self.centre + 1 + scales)
        self.seen = slice(self.scale.stop, self.scale.stop + len(_MEMORIES))
        self.energy = slice(self.seen.stop, self.seen.stop + len(_ENERGIES))
        self.content = slice(self.energy.stop, arch.width)


class _Turns:
    """Rotary pairs of a head by how fast they turn."""

    def __init__(self, arch: Architecture) -> None:
        table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, 2, torch.device("cpu"))
        self.speed: list[float] = torch.angle(table[1]).tolist()
        clip = 16 * _FRAME
        still = [pair for pair, speed in enumerate(self.speed) if speed * clip < 0.4]
        self.flag, self.still = still[0] if still else 0, still[1:]
        ages = [pair for pair, speed in enumerate(self.speed) if 0.4 <= speed * clip < math.pi]
        frames = [pair for pair, speed in enumerate(self.speed) if 1.0 < speed * arch.vision_tokens < 2.0]
        self.fits = len(self.still) >= _WAVES and bool(ages) and bool(frames)
        self.age, self.frame = (ages[0], frames[0]) if self.fits else (0, 0)


@torch.no_grad()
def initialize(model: AutoGaze, seed: int) -> None:
    """Set the weights of ``model``; what is random in them follows from ``seed``."""
    arch, gaze = model.arch, model.gazing_model
    stream = np.random.RandomState(seed)
    for weights in model.parameters():
        if weights.dim() > 1:
            _fill(weights, stream)
    if not _fits(arch):
        return
    channels, turns, decoder = _Channels(arch), _Turns(arch), gaze.gaze_decoder
    _see_detail(gaze.vision_model, channels, stream)
    codes, coarse_codes = (cosine_codes(arch.grid, count) for count in (channels.places, arch.head_dim))
    _name_places(model, channels, codes, turns)
    heads = decoder.lm_head.weight.zero_().view(arch.group, arch.vocabulary, arch.width)
    fine = torch.arange(arch.eos) >= arch.grid.offsets[-1]
    heads[:, :-1, channels.own] = torch.where(fine[:, None], _FINE_LOGIT * codes, 0.0)
    heads[:, :-1, channels.coarse] = torch.where(fine[:, None], 0.0, _COARSE_LOGIT * coarse_codes)
    heads[:, :-1, channels.one] = torch.tensor((0.0, 0.0, *_COARSER))[_below_finest(arch).clamp(max=3)]
    decoder.task_loss_prediction_head.weight.zero_()
    layers = [cast(DecoderLayer, layer) for layer in decoder.model.layers]
    for layer in layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    for head, memory in enumerate(_MEMORIES):
        _remember(_Head(layers[0], head, arch), head, memory, channels, turns, codes[fine])
    for head in range(4):
        _point(_Head(layers[-1], head, arch), head, channels, turns, arch)


def _fits(arch: Architecture) -> bool:
    """Whether there is room for all of it."""
    room = _Channels(arch).content.start <= arch.width and arch.vision_width >= 2 * sum(
        e[3] for e in _ENERGIES
    )
    eyes = arch.vision_depth > 0 and arch.trunk_temporal_kernel > 1
    return (
        room
        and eyes
        and arch.layers > 1
        and arch.heads > 3
        and len(arch.grid.scales) > 1
        and _Turns(arch).fits
    )


def _below_finest(arch: Architecture) -> Tensor:
    """Return (patches,): how many scales below the finest each patch is."""
    counts = torch.tensor(arch.grid.counts)
    return torch.arange(len(counts) - 1, -1, -1).repeat_interleave(counts)


def _see_detail(trunk: VisionTrunk, channels: _Channels, stream: np.random.RandomState) -> None:
    size, count = trunk.temporal_conv.weight.shape[-1], trunk.temporal_conv.weight.shape[0] - 2
    patterns, sizes = cosine_basis(count, size)
    count = len(patterns)
    bias = trunk.temporal_conv.bias
    assert bias is not None
    trunk.temporal_conv.weight.zero_()[:count, :, 0] = patterns * (0.5 / sizes)[:, None, None, None]
    bias.zero_()[-2:] = torch.tensor((_STEADY, -_STEADY))
    frequency = cosine_frequencies(count, size)
    conv = cast(CausalConvBlock, trunk.blocks[0]).conv3d
    assert conv.bias is not None
    assert trunk.out_proj.bias is not None
    conv.bias.zero_()
    trunk.out_proj.bias.zero_()
    trunk.out_proj.weight[: channels.content.start] = 0
    trunk.out_proj.weight[channels.content] *= 2
    middle, row = conv.weight.shape[-1] // 2, 0
    for number, (change, low, high, sums, mean) in enumerate(_ENERGIES):
        band = ((frequency >= low) & (frequency < high)).nonzero()[:, 0]
        mixed = (
            torch.eye(len(band)) if sums == len(band) else _normal(stream, sums, len(band)) / len(band) ** 0.5
        )
        for sign in (1, -1):
            rows = slice(row, row + sums)
            conv.weight[rows] = 0
            conv.weight[rows, band, -1, middle, middle] = sign * mixed
            if change:
                conv.weight[rows, band, -2, middle, middle] = -sign * mixed
            trunk.out_proj.weight[channels.energy.start + number, rows] = 1 / (sums * mean)
            row = rows.stop


def _name_places(model: AutoGaze, channels: _Channels, codes: Tensor, turns: _Turns) -> None:
    """Give vision tokens and gazed patches their codes."""
    arch, below = model.arch, _below_finest(model.arch)
    tokens = arch.vision_tokens
    places = model.gazing_model.connector.pos_embed.zero_()
    places[:, channels.own], places[:, channels.one] = codes[-tokens:], 1.0
    # What the frame's pair of _point takes from the first and last tokens of a frame, given back.
    off_centre = torch.arange(tokens) - tokens / 2
    places[:, channels.centre] = 1 - torch.cos(turns.speed[turns.frame] * off_centre)
    embedding = model.gazing_model.gaze_decoder.model.embed_tokens.weight.zero_()
    patches = torch.arange(len(codes))
    embedding[:-1, channels.own] = codes
    embedding[:, channels.one] = embedding[:-1, channels.gazed] = 1.0
    embedding[patches, channels.scale.start + below] = 1.0


class _Head:
    """The weights of one head of a layer, all zero at first but for what is set."""

    def __init__(self, layer: DecoderLayer, head: int, arch: Architecture) -> None:
        attention, rows = layer.self_attn, slice(head * arch.head_dim, (head + 1) * arch.head_dim)
        self.query, self.key, self.value = (
            matrix.weight[rows].zero_() for matrix in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        self.output = attention.o_proj.weight[:, rows].zero_()
        self.half = arch.head_dim // 2
        self.nat = math.sqrt(arch.head_dim)
        """Product of a query's and a key's entry that makes a nat."""


def _remember(
    head: _Head,
    number: int,
    memory: tuple[int, float, float, float],
    channels: _Channels,
    turns: _Turns,
    codes: Tensor,
) -> None:
    """Look for gazes over a token's own place, of one scale, the less the older they are; ``codes`` are those
    of the finest patches."""
    below, frames, highest, excess = memory
    side = math.isqrt(len(codes))
    waves = _waves(highest, apart=below + 1, side=side)
    at = torch.cartesian_prod(torch.arange(side), torch.arange(side)).float() @ waves.T
    # Cosines over the picture are orthogonal, so this is how each wave is made of them.
    read = torch.cat([at.cos(), at.sin()], dim=1).T @ codes / len(codes)
    pairs = turns.still[-_WAVES:]
    rows = [*pairs, *(pair + head.half for pair in pairs)]
    head.query[rows, channels.own] = head.key[rows, channels.own] = read * math.sqrt(_SAME_PLACE * head.nat)
    # A query a quarter turn ahead: the score falls with the sine of the age.
    head.query[turns.age + head.half, channels.one] = 1.0
    oldest = turns.speed[turns.age] * _FRAME * frames
    head.key[turns.age, channels.one] = _FOUND / math.sin(oldest) * head.nat
    head.query[turns.flag, channels.one] = 1.0
    head.key[turns.flag, channels.gazed] = (_FOUND - excess - _OTHER_SCALE) * head.nat
    head.key[turns.flag, channels.scale.start + below] = _OTHER_SCALE * head.nat
    head.value[0, channels.gazed] = head.output[channels.seen.start + number, 0] = 1.0


def _point(head: _Head, number: int, channels: _Channels, turns: _Turns, arch: Architecture) -> None:
    """Look where there is most to see in the frame, and tell the place: ``number`` 0 to 2 a third each of its
    code, for the finest patches, and 3 its lowest cosines, for coarser ones."""
    size, still = arch.head_dim, turns.still[-1]
    worth, seen = (_WORTH_FINE, _SEEN_FINE) if number < 3 else (_WORTH_COARSE, _SEEN_COARSE)
    nat = 0.75 * head.nat  # tokens are longer than 1 a channel
    head.query[still, channels.one] = 1.0
    head.key[still, channels.energy] = nat * torch.tensor(worth)
    head.key[still, channels.seen] = -nat * torch.tensor(seen)
    head.key[still, channels.gazed] = -nat * _NO_GAZE
    # Liked best are tokens half a frame old, least those one and a half: centre makes up for the difference
    # inside the frame.
    turn = turns.speed[turns.frame] * arch.vision_tokens / 2
    head.query[turns.frame, channels.one] = math.cos(turn)
    head.query[turns.frame + head.half, channels.one] = -math.sin(turn)
    head.key[turns.frame, channels.one] = head.key[still, channels.centre] = nat * _THIS_FRAME
    told = slice(number * size, (number + 1) * size)
    head.value[:, told if number < 3 else slice(0, size)] = torch.eye(size)
    head.output[told] = _LOUD * torch.eye(size)


def _waves(highest: float, apart: int, side: int) -> Tensor:
    """Return (waves, 2) frequencies, radians to a token: a choice that tells places best that are ``apart``
    tokens from each other or more."""
    stream, distance = np.random.RandomState(0), np.arange(1 - side, side)
    between = np.stack(np.meshgrid(distance, distance, indexing="ij"), axis=-1).reshape(-1, 2)
    between = between[np.abs(between).max(axis=1) >= apart]
    choices = stream.uniform(-highest, highest, (1000, _WAVES, 2))
    likest = [np.cos(between @ waves.T).mean(axis=1).max() for waves in choices]
    return torch.from_numpy(choices[int(np.argmin(likest))].astype(np.float32))


def _normal(stream: np.random.RandomState, *shape: int) -> Tensor:
    return torch.from_numpy(stream.standard_normal(shape).astype(np.float32))


def _fill(weight: Tensor, stream: np.random.RandomState) -> None:
    """Fill with normal numbers of unit variance per input."""
    weight.copy_(_normal(stream, *weight.shape) / math.sqrt(weight[0].numel()))


def cosine_codes(grid: PatchGrid, count: int) -> Tensor:
    """Return (patches, count): the ``count`` lowest cosines over the picture, where each patch lies.

    A coarse patch has the mean over the area that it covers. All codes have the root mean square 1. How well
    two agree tells how near they lie: a map over the finest patches that is a sum of such codes, each with
    its weight, is those weights, as sharply as so many cosines show them.
    """
    side = grid.sides[-1]
    waves = sorted(
        ((v, u) for v in range(side) for u in range(side)), key=lambda k: (k[0] ** 2 + k[1] ** 2, k)
    )
    vertical, horizontal = torch.tensor(waves[:count]).T
    at = (torch.arange(side) + 0.5) * math.pi / side
    fine = (at[:, None] * vertical).cos()[:, None] * (at[:, None] * horizontal).cos()[None]
    area = cover(grid).flatten(1)
    codes: Tensor = area @ fine.flatten(0, 1) / area.sum(dim=1, keepdim=True)
    # Over the picture every cosine counts the same.
    codes = codes / fine.flatten(0, 1).square().mean(dim=0).sqrt()
    length: Tensor = codes.norm(dim=1, keepdim=True)
    return codes * math.sqrt(count) / length
