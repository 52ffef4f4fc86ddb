"""Initial weights of a small reconstructor: a pyramid coder that knows where things are.

From the usual small random weights a masked autoencoder first has to find out that a patch says something
about its own place. Tens of thousands of steps later it has; a few CPU cores do not get that far. Here the
weights are set so that the untrained network already paints, in one pass, what a coder without learning
would:

* Patches enter as their leading cosine coefficients, as in JPEG (Ahmed, Natarajan and Rao, 1974), one luma
  and two chroma channels, scaled to even variance; the prediction is the inverse transform.
* Every decoder token knows its own place, and a gazed one, beside that, the place of the patch it came from.
  Queries read the one and keys the other, so a token looks for patches that were seen where it lies itself,
  and at nothing where there are none: tokens that hold no patch attract what finds no better.
* The first decoder layer fetches the newest patch of the finest scale at a token's place, the second, where
  the first found none, the quarter of a patch half as fine that covers it, the third the mean colour of the
  coarser scales. Each writes into the channels that the prediction reads.

Nothing else writes anything yet: encoder blocks and perceptrons begin as the identity (Zhang et al., 2019:
"Fixup"). All of it is learnt further. ``MODEL_CARD.md`` of the embedded models tells what that is worth.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.initialization.dct import cosine_basis
from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig

_CONTENT_SIZE = 0.7
"""Amplitude of a cosine coefficient of usual size: small beside the place channels, so that the norms of a
token, which all of it passes through, hardly depend on what it shows."""
_PLACE_SIZE, _FLAG_SIZE = 14.0, 10.0
"""Amplitudes of the place channels and of flags. All of a token is large, so that the first steps of
training, which move every weight by the learning rate whatever its size, do not wash over it."""
_TIME_STEP, _LAST_TIME = 1.0, 32
"""What the time channel grows by from one frame to the next, and the frame from which on it does not."""
_MATCH = 24.0
"""Logit of a patch at a token's very place."""
_BLANK = 7.0
"""Logit of a token that holds no patch; a frame has hundreds of them, e to the 5 or 6."""
_AGEING = 0.4
"""What a logit loses with each frame that has passed since."""
_CLASS_TIME = 0.3
"""Of the class token, as a share of its place: as new as it takes to attract what finds nothing where no
token is blank."""
_OTHER_SCALE = -20.0
"""Logit of a patch for being of another scale than a head looks for."""
_WHOLE, _QUARTER = 6.0, 10.0
"""Logit of a patch of a coarse scale for being the one that a head looks for: where all of it is painted; and
where a quarter is, for each of two directions in which it is the head's own, or else is not."""
_FALLBACK = 27.0
"""What a coarse patch loses where a finer one was found."""


@dataclass(frozen=True)
class _Channels:
    """What each channel of the decoder's tokens is for."""

    waves: int
    """Waves along each axis that tell a place; each has a sine and a cosine."""
    scales: int
    content: int
    """Cosine coefficients."""

    @classmethod
    def of(cls, config: VideoMAEConfig) -> "_Channels":
        width, scales = config.decoder_hidden_size, len(config.grid.scales)
        heads = config.decoder_num_attention_heads
        waves = max(1, min(8, width // 40, (width // heads - 2) // 4))
        rest = width - 2 * 4 * waves - scales - 6
        encoded = config.hidden_size - 4 * waves - scales - 2
        return cls(waves, scales, min(rest // 2, encoded, config.num_channels * config.patch_size**2))

    @property
    def own(self) -> slice:
        return slice(0, 4 * self.waves)

    @property
    def source(self) -> slice:
        return slice(4 * self.waves, 8 * self.waves)

    @property
    def scale(self) -> slice:
        return slice(8 * self.waves, 8 * self.waves + self.scales)

    @property
    def time(self) -> int:
        return 8 * self.waves + self.scales

    @property
    def found(self) -> int:
        return self.time + 1

    @property
    def blank(self) -> slice:
        """Two of opposite sign, for the mean of a token's channels to stay near zero."""
        return slice(self.time + 2, self.time + 4)

    @property
    def parity(self) -> slice:
        return slice(self.time + 4, self.time + 6)

    @property
    def shown(self) -> slice:
        """The coefficients of the patch that a token holds."""
        return slice(self.parity.stop, self.parity.stop + self.content)

    @property
    def painted(self) -> slice:
        """The coefficients that the prediction reads."""
        return slice(self.shown.stop, self.shown.stop + self.content)


def initial_state(config: VideoMAEConfig, seed: int = 0) -> dict[str, Tensor]:
    """Return every parameter of a reconstructor's VideoMAE without feature networks, the same on every
    machine. A model too narrow to tell places and colours apart starts from small random weights."""
    from autogaze.tasks.video_mae_reconstruction.task_video_mae_reconstruction import VideoMAEReconstruction

    with torch.device("meta"):
        shapes = VideoMAEReconstruction(config).state_dict()
    state = {name: random_values(name, tuple(tensor.shape), seed) for name, tensor in shapes.items()}
    channels = _Channels.of(config)
    if channels.content < config.num_channels:
        return state
    for name, tensor in state.items():
        if name.endswith("output.dense.weight"):
            tensor.zero_()
    basis, sizes = cosine_basis(channels.content, config.patch_size, config.num_channels)
    _code_patches(state, config, channels, basis * (_CONTENT_SIZE / sizes)[:, None, None, None])
    _tell_places(state, config, channels)
    backward = basis * (sizes / _CONTENT_SIZE)[:, None, None, None]
    _paint(state, config, channels, backward)
    for head in _heads(config, channels, basis, sizes):
        head.write(state, config, channels)
    return state


def random_values(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return initial values as for any vision transformer; each tensor has a random stream of its own."""
    leaf = name.rpartition(".")[2]
    if leaf == "bias" or leaf.endswith("_bias"):
        return torch.zeros(shape)
    if leaf == "lambda1" or (leaf == "weight" and len(shape) == 1):
        return torch.ones(shape)
    # RandomState, unlike numpy's newer generators, promises the same stream in every version.
    stream = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    return torch.from_numpy((0.02 * stream.standard_normal(shape)).astype(np.float32))


def _grey(config: VideoMAEConfig) -> float:
    """A grey pixel, normalised: 127.5 is scaled to 0."""
    return -float(np.mean(config.image_mean)) / float(np.mean(config.image_std))


def _place_norm(channels: _Channels) -> float:
    """Norm of the place channels of one kind."""
    return _PLACE_SIZE * math.sqrt(2 * channels.waves)


def _gain(config: VideoMAEConfig, channels: _Channels) -> float:
    """What a layer norm in the decoder multiplies a token by: all hold about two places' worth."""
    return math.sqrt(config.decoder_hidden_size / 2) / _place_norm(channels)


def _code_patches(
    state: dict[str, Tensor], config: VideoMAEConfig, channels: _Channels, forward: Tensor
) -> None:
    """Make the patch projection a cosine transform, and hand its coefficients to the decoder as they are."""
    first = 4 * channels.waves + channels.scales
    content = slice(first, first + channels.content)
    projection = "mae.vit.embeddings.patch_embeddings.projection"
    state[f"{projection}.weight"].zero_()[content] = forward
    state[f"{projection}.bias"][content] = -_grey(config) * forward.sum(dim=(1, 2, 3))
    # The encoder's last norm multiplies by this, for a token is little beside its place.
    norm = math.sqrt(config.hidden_size) / _place_norm(channels)
    embed = state["mae.decoder.decoder_embed.weight"].zero_()
    for to, start in (
        (range(channels.source.start, channels.source.stop), 0),
        (range(channels.scale.start, channels.scale.stop), 4 * channels.waves),
        (range(channels.shown.start, channels.shown.stop), first),
    ):
        embed[list(to), list(range(start, start + len(to)))] = 1 / norm


def _tell_places(state: dict[str, Tensor], config: VideoMAEConfig, channels: _Channels) -> None:
    """Fill the tables of places, scales and times."""
    side = config.grid.sides[-1]
    # Signs alternate for a small sum over channels, which norms take off.
    sign = _PLACE_SIZE * torch.tensor([1.0, -1.0]).repeat(channels.waves)[: channels.waves]
    frequency = torch.pi * torch.linspace(0.5, side / 2, channels.waves) / side
    column, row = torch.arange(side).repeat(side), torch.arange(side).repeat_interleave(side)
    waves = [place[:, None] * frequency for place in (column, row)]
    table = torch.cat([sign * wave(angle) for angle in waves for wave in (torch.sin, torch.cos)], dim=1)
    encoder, decoder = "mae.vit.embeddings", "mae.decoder"
    state[f"{encoder}.position_embeddings"].zero_()[0, 1:, channels.own] = table
    # The class token has channels to itself, and none of what patches tell.
    state[f"{encoder}.cls_token"].zero_()[..., -2:] = _PLACE_SIZE * torch.tensor([1.0, -1.0])
    blank = _place_norm(channels) / math.sqrt(2) * torch.tensor([1.0, -1.0])
    class_token = state[f"{decoder}.decoder_pos_embed"].zero_()[0, 0]
    class_token[channels.blank] = blank
    class_token[channels.time] = _CLASS_TIME * _place_norm(channels)
    own = state[f"{decoder}.decoder_pos_embed"][0, 1:]
    own[:, channels.own] = table
    own[:, channels.parity] = _FLAG_SIZE * (torch.stack([column, row], dim=1) % 2 * 2.0 - 1)
    state[f"{decoder}.mask_token"].zero_()[..., channels.blank] = blank
    if config.scale_embed:
        first = channels.own.stop
        state[f"{encoder}.scale_embed"].zero_()[:, first : first + channels.scales].fill_diagonal_(_FLAG_SIZE)
        state[f"{decoder}.decoder_scale_embed"].zero_()
    if config.time_embed:
        times = _TIME_STEP * torch.arange(config.max_num_frames).clamp(max=_LAST_TIME)
        state[f"{encoder}.time_embed"].zero_()
        state[f"{decoder}.time_embed"].zero_()[:, channels.time] = times


def _paint(state: dict[str, Tensor], config: VideoMAEConfig, channels: _Channels, backward: Tensor) -> None:
    """Make the prediction the inverse transform of the painted coefficients."""
    predict = state["mae.decoder.decoder_pred.weight"].zero_()
    # (y, x, channel, coefficient), as pixels lie in a predicted patch
    predict[:, channels.painted] = backward.permute(2, 3, 1, 0).flatten(0, 2) / _gain(config, channels)
    state["mae.decoder.decoder_pred.bias"].fill_(_grey(config))


@dataclass(frozen=True, eq=False)
class _Head:
    """A head of a decoder layer that fetches what was seen at a token's place at one scale."""

    layer: int
    number: int
    scale: int
    waves: int
    """Of these waves, the longest, is a place told: few for a coarse scale."""
    values: Tensor
    """(painted coefficients, shown coefficients): what is made of a patch that is found."""
    rows: range
    """Which painted coefficients these are."""
    bonus: float = 0.0
    """Logit of a patch for being of this scale."""
    quarter: tuple[int, int] | None = None
    """Parities of column and row of the places that are painted; None for all."""
    fallback: bool = True
    """Whether to look for nothing where something was found."""
    tells: bool = False
    """Whether to write down that something was found."""

    def write(self, state: dict[str, Tensor], config: VideoMAEConfig, channels: _Channels) -> None:
        """Set the head's rows in the projections of its layer."""
        attention = f"mae.decoder.decoder_layers.{self.layer}.attention"
        size = config.decoder_hidden_size // config.decoder_num_attention_heads
        here = slice(self.number * size, (self.number + 1) * size)
        query, key, value = (
            state[f"{attention}.attention.{name}.weight"][here].zero_() for name in ("query", "key", "value")
        )
        constant = state[f"{attention}.attention.query.bias"][here]
        output = state[f"{attention}.output.dense.weight"][:, here]
        gain, root = _gain(config, channels), math.sqrt(size)
        flag = _FLAG_SIZE * gain
        # Sum over waves of sine and cosine products at the same place, both tokens as their norms leave them.
        agreement = 2 * self.waves * (_PLACE_SIZE * gain) ** 2 / root
        weight = math.sqrt(_MATCH / agreement)
        kinds = 4  # sine and cosine along columns and rows
        for kind in range(kinds):
            for wave in range(self.waves):
                row, channel = kind * self.waves + wave, kind * channels.waves + wave
                query[row, channel] = key[row, channels.source.start + channel] = weight
        # A row in which every query is 1: what a key is worth whoever looks.
        worth = kinds * self.waves
        constant[worth] = root
        scale = channels.scale.start + self.scale
        key[worth, channels.scale] = _OTHER_SCALE / flag
        key[worth, scale] = self.bonus / flag
        key[worth, channels.time] = _AGEING / (_TIME_STEP * gain)
        opposite = torch.tensor([1.0, -1.0])
        key[worth, channels.blank] = _BLANK / (_place_norm(channels) * gain) / math.sqrt(2) * opposite
        # And one in which a query tells what it does not want of this scale.
        wish = worth + 1
        key[wish, scale] = 1 / flag
        if self.fallback:
            query[wish, channels.found] = -_FALLBACK * root / flag
        if self.quarter is not None:
            for channel, parity in zip(range(channels.parity.start, channels.parity.stop), self.quarter):
                query[wish, channel] = _QUARTER * root * (2 * parity - 1) / flag
        count = len(self.rows)
        value[:count, channels.shown] = self.values
        output[[channels.painted.start + row for row in self.rows], list(range(count))] = 1 / gain
        if self.tells:
            value[count, scale] = 1.0
            output[channels.found, count] = 1 / gain


def _heads(config: VideoMAEConfig, channels: _Channels, basis: Tensor, sizes: Tensor) -> Iterator[_Head]:
    """Give the heads there is room for, of the first three layers: one scale after another, the finest
    first."""
    heads, finest = config.decoder_num_attention_heads, len(config.grid.scales) - 1
    size = config.decoder_hidden_size // heads
    layers = config.decoder_num_hidden_layers
    whole, waves = torch.eye(channels.content), channels.waves
    pieces = [
        range(first, min(first + size - 1, channels.content))
        for first in range(0, channels.content, size - 1)
    ]
    for number, rows in enumerate(pieces[:heads]):
        values = whole[list(rows)]
        yield _Head(0, number, finest, waves, values, rows, fallback=False, tells=number == 0)
    halved = [scale for scale, side in enumerate(config.grid.sides) if 2 * side == config.grid.sides[-1]]
    if halved and layers > 1 and heads >= 4:
        rows = range(min(size - 1, channels.content))
        for number, quarter in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
            values = _quarter_coefficients(basis, sizes, quarter)[: len(rows)]
            yield _Head(1, number, halved[0], waves, values, rows, -_QUARTER, quarter, tells=True)
    coarse = [scale for scale in range(finest) if scale not in halved]
    if layers > 2:
        rows = range(min(config.num_channels, channels.content))  # the constant patterns come first
        for number, scale in enumerate(reversed(coarse[-heads:])):
            few = max(1, min(waves, round(waves * 2 * config.grid.sides[scale] / config.grid.sides[-1])))
            yield _Head(2, number, scale, few, whole[list(rows)], rows, _WHOLE)


def _quarter_coefficients(basis: Tensor, sizes: Tensor, quarter: tuple[int, int]) -> Tensor:
    """Return (content, content): from a patch's coefficients to those of a quarter of it, enlarged."""
    side = basis.shape[-1]
    grown = F.interpolate(basis, scale_factor=2, mode="bilinear", align_corners=False)
    column, row = (parity * side for parity in quarter)
    cut = grown[:, :, row : row + side, column : column + side]
    return (basis.flatten(1) @ cut.flatten(1).T) * sizes / sizes[:, None]
