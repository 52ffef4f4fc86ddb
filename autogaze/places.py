"""Where patches lie in the picture, and codes for it that vectors can carry."""

import math

import torch
from torch import Tensor

from autogaze.patches import PatchGrid


def cover(grid: PatchGrid) -> Tensor:
    """Return (patches, rows, columns): which share of each patch of the finest scale a patch lies over."""
    finest = grid.sides[-1]
    shares = []
    for side in grid.sides:
        edges = torch.arange(side + 1) * finest / side
        cells = torch.arange(finest)
        ends, starts = torch.minimum(edges[1:, None], cells + 1), torch.maximum(edges[:-1, None], cells)
        along = (ends - starts).clamp(min=0)
        shares.append((along[:, None, :, None] * along[None, :, None, :]).flatten(0, 1))
    return torch.cat(shares)


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
