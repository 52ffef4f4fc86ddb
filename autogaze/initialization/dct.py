"""Discrete cosine transform of patches, as in JPEG (Ahmed, Natarajan and Rao, 1974)."""

import math

import torch
from torch import Tensor

_OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
"""Luma and two differences of colour, from red, green and blue; orthogonal."""
_CHROMA_COST = 3.0
"""How much higher a luma frequency, squared, is worth its channel before a chroma frequency is."""


def cosine_basis(count: int, size: int, colours: int = 3) -> tuple[Tensor, Tensor]:
    """Return the leading ``count`` patterns of patches of ``size`` pixels, or all there are.

    They are orthonormal, (count, 3, size, size), those of one colour first. The second value, (count,), is
    how large their coefficients are in pictures, whose amplitudes fall with frequency.
    """
    frequency = torch.arange(size)
    cosines = torch.cos(torch.pi / size * frequency[:, None] * (frequency + 0.5)) * math.sqrt(2 / size)
    cosines[0] /= math.sqrt(2)
    opponent = _OPPONENT / _OPPONENT.norm(dim=1, keepdim=True)
    chosen = _leading(count, size, colours)
    patterns = [opponent[c][:, None, None] * cosines[y][:, None] * cosines[x] for c, y, x in chosen]
    amplitudes = [
        0.1 + (6.0 if (y, x) == (0, 0) else 1.5 / (1 + 0.3 * math.hypot(y, x))) * (1.0 if c == 0 else 0.5)
        for c, y, x in chosen
    ]
    return torch.stack(patterns), torch.tensor(amplitudes)


def cosine_frequencies(count: int, size: int, colours: int = 3) -> Tensor:
    """Return (count,) int64: the higher of each pattern's two frequencies, in half waves to a patch."""
    return torch.tensor([max(y, x) for _, y, x in _leading(count, size, colours)])


def _leading(count: int, size: int, colours: int) -> list[tuple[int, int, int]]:
    """Return colour, vertical and horizontal frequency of the patterns that matter most."""
    cost = {
        (channel, y, x): (y * y + x * x) * (1.0 if channel == 0 else _CHROMA_COST) + channel / 10
        for channel in range(colours)
        for y in range(size)
        for x in range(size)
    }
    return sorted(cost, key=lambda key: (cost[key], key))[:count]
