"""Where the training of a small reconstructor starts: as a transform coder that looks nearby.

From the usual small random weights a masked autoencoder first has to find out that a patch says something
about its own place. Tens of thousands of steps later it has; a few CPU cores do not get that far. Here it
begins with what is known of pictures:

* Patches enter as their leading cosine coefficients, as in JPEG (Ahmed, Natarajan and Rao, 1974), one luma
  and two chroma channels, scaled to even variance; the prediction is the inverse transform. So a gazed patch
  of the finest scale is roughly known before the first step.
* Place and content have channels of their own, and the decoder's queries and keys read place: each token
  looks at what lies near it, at whatever scale and in whatever frame, as trained transformers turn out to do
  (Trockman and Kolter, 2023: "mimetic" initialization).
* The first decoder layer hands on the mean colour of what it looks at.

All of it is learnt further. Measured on painted clips, 8 at a time: after 50 steps the loss is 1.2, and 2.0,
that of a grey picture, from random weights.
"""

import math
import zlib

import numpy as np
import torch
from torch import Tensor

from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig

_OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
"""Luma and two differences of colour, from red, green and blue; orthogonal."""
_CHROMA_COST = 3.0
"""How much higher a luma frequency, squared, is worth its channel before a chroma frequency is."""
_RECEPTIVE = (0.6, 0.25)
"""Sharpness of the first head's look at its surroundings, and how much sharper each further one is."""
_PLACE_SIZE = 1.4
"""Amplitude of the place channels; content has about half."""


def initial_state(config: VideoMAEConfig, seed: int = 0) -> dict[str, Tensor]:
    """Return every parameter of a reconstructor's VideoMAE without feature networks, the same on every
    machine."""
    from autogaze.tasks.video_mae_reconstruction.task_video_mae_reconstruction import VideoMAEReconstruction

    with torch.device("meta"):
        shapes = VideoMAEReconstruction(config).state_dict()
    state = {name: random_values(name, tuple(tensor.shape), seed) for name, tensor in shapes.items()}
    places = min(config.hidden_size, config.decoder_hidden_size) // 4
    _code_patches(state, config, places)
    _tell_places(state, config, places)
    _look_nearby(state, config, places)
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


def _code_patches(state: dict[str, Tensor], config: VideoMAEConfig, places: int) -> None:
    """Make the patch projection a cosine transform, and the prediction its inverse."""
    pixels = config.num_channels * config.patch_size**2
    encoded = min(config.hidden_size - places, pixels)
    decoded = min(config.decoder_hidden_size - places, encoded)
    basis, size = _cosine_basis(encoded, config.patch_size)
    even = 0.5 / size
    # A grey pixel, normalised: 127.5 is scaled to 0.
    middle = -float(np.mean(config.image_mean)) / float(np.mean(config.image_std))
    forward = basis * even[:, None, None, None]
    projection = "mae.vit.embeddings.patch_embeddings.projection"
    content = slice(places, places + encoded)
    state[f"{projection}.weight"].zero_()[content] = forward
    state[f"{projection}.bias"][content] = -middle * forward.sum(dim=(1, 2, 3))
    state["mae.decoder.decoder_embed.weight"] = torch.eye(config.decoder_hidden_size, config.hidden_size)
    # (y, x, channel, coefficient), as pixels lie in a predicted patch
    backward = (basis / even[:, None, None, None])[:decoded].permute(2, 3, 1, 0)
    state["mae.decoder.decoder_pred.weight"].zero_()[:, places : places + decoded] = backward.flatten(0, 2)
    state["mae.decoder.decoder_pred.bias"].fill_(middle)


def _cosine_basis(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Return (count, 3, size, size) orthonormal patterns, and (count,) how large their coefficients are in
    pictures, whose amplitudes fall with frequency."""
    frequency = torch.arange(size)
    cosines = torch.cos(torch.pi / size * frequency[:, None] * (frequency + 0.5)) * math.sqrt(2 / size)
    cosines[0] /= math.sqrt(2)
    colours = _OPPONENT / _OPPONENT.norm(dim=1, keepdim=True)
    cost = {
        (channel, y, x): (y * y + x * x) * (1.0 if channel == 0 else _CHROMA_COST) + channel / 10
        for channel in range(3)
        for y in range(size)
        for x in range(size)
    }
    chosen = sorted(cost, key=lambda key: (cost[key], key))[:count]
    patterns = [colours[c][:, None, None] * cosines[y][:, None] * cosines[x] for c, y, x in chosen]
    sizes = [
        0.1 + (6.0 if (y, x) == (0, 0) else 1.5 / (1 + 0.3 * math.hypot(y, x))) * (1.0 if c == 0 else 0.5)
        for c, y, x in chosen
    ]
    return torch.stack(patterns), torch.tensor(sizes)


def _tell_places(state: dict[str, Tensor], config: VideoMAEConfig, places: int) -> None:
    """Fill the position tables: waves along columns and rows in the place channels, of at most half a period
    to the patch."""
    side = config.grid.sides[-1]
    frequency = torch.pi * torch.linspace(0.5, side / 2, places // 4) / side
    column, row = torch.arange(side).repeat(side), torch.arange(side).repeat_interleave(side)
    waves = [place[:, None] * frequency for place in (column, row)]
    table = torch.cat([wave(angle) for angle in waves for wave in (torch.sin, torch.cos)], dim=1)
    for name in ("mae.vit.embeddings.position_embeddings", "mae.decoder.decoder_pos_embed"):
        state[name].zero_()[0, 1:, : table.shape[1]] = _PLACE_SIZE * table


def _look_nearby(state: dict[str, Tensor], config: VideoMAEConfig, places: int) -> None:
    """Let decoder tokens look at what lies near them, and the first layer hand on its mean colour."""
    heads = config.decoder_num_attention_heads
    channels = config.decoder_hidden_size // heads
    for layer in range(config.decoder_num_hidden_layers):
        attention = f"mae.decoder.decoder_layers.{layer}.attention"
        for head in range(heads):
            # One projection for query and key, so that they agree most where the places are the same.
            stream = np.random.RandomState(zlib.crc32(f"place of head {head}".encode()))
            projection = torch.from_numpy(stream.standard_normal((channels, places)).astype(np.float32))
            sharpness = (_RECEPTIVE[0] + _RECEPTIVE[1] * head) * channels**-0.5
            rows = slice(head * channels, (head + 1) * channels)
            for side in ("query", "key"):
                state[f"{attention}.attention.{side}.weight"][rows, :places] = sharpness * projection
    first = "mae.decoder.decoder_layers.0.attention"
    means = range(places, places + 3)  # the constant patterns come first
    for channel, mean in zip(range(0, config.decoder_hidden_size, channels), means):
        state[f"{first}.attention.value.weight"][channel, mean] = 1.0
        state[f"{first}.output.dense.weight"][mean, channel] = 0.7
