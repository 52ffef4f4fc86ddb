"""Surfaces of synthetic clips: noise of several kinds, patterns and gradients, in colours that go together.

A *field* is (size, size) float32 of unit deviation about zero; :func:`surface` draws one of a random kind and
maps it through three colours.
"""

import colorsys
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.spatial import Voronoi

from autogaze.datasets.synthetic.paint import Colour, noise

Field = npt.NDArray[np.float32]
Rng = np.random.RandomState

_RAMP_REACH = 2.0
"""Deviations of a field that the ends of the colour ramp stand for."""


def draw_colour(rng: Rng, lightness: float | None = None) -> Colour:
    """Draw a colour as things have them: mostly of low saturation, of any ``lightness`` from 0 to 1."""
    value = 0.05 + 0.93 * rng.beta(0.8, 0.8) if lightness is None else lightness
    red, green, blue = colorsys.hsv_to_rgb(rng.rand(), rng.beta(1.1, 3.4), min(1.0, max(0.0, value)))
    return round(255 * red), round(255 * green), round(255 * blue)


def surface(rng: Rng, size: int, contrast: float | None = None) -> Image.Image:
    """Paint (size, size) RGB with a field of a random kind, most of them smooth and of low contrast."""
    draw_field = _KINDS[rng.choice(len(_KINDS), p=_WEIGHTS)]
    if contrast is None:
        contrast = float(np.clip(rng.lognormal(math.log(0.28), 0.7), 0.03, 1.0))
    return tint(rng, draw_field(rng, size), contrast)


def tint(rng: Rng, field: Field, contrast: float) -> Image.Image:
    """Map a field through three random colours, ``contrast`` of the whole range of lightness apart."""
    middle = 0.1 + 0.85 * rng.beta(0.9, 0.9)
    colour = np.array(draw_colour(rng, middle), np.float32)
    other = np.array(draw_colour(rng, middle), np.float32)
    colour_shift = rng.uniform(0, 0.5) * (other - colour)
    ramp = np.linspace(-1, 1, 256)[:, None]
    table = colour + ramp * (contrast * 127 + colour_shift * min(1.0, 4 * contrast))
    steps = np.clip(field * (127.5 / _RAMP_REACH) + 127.5, 0, 255).astype(np.uint8)
    return Image.fromarray(np.take(table.clip(0, 255).astype(np.uint8), steps, axis=0))


def fractal(rng: Rng, size: int) -> Field:
    """Value noise of several octaves, the finest left out where the surface is to be smooth."""
    reduction = int(rng.choice([2, 2, 3, 6]))
    field = noise(
        rng, size // reduction, size // reduction, int(rng.choice([4, 8, 16, 32])), rng.uniform(0.4, 0.95)
    )
    return _unit(_resized(field, size))


def spectral(rng: Rng, size: int) -> Field:
    """Noise whose amplitude falls as a power of frequency, which is how pictures of nature behave."""
    side = 2 * size // 3
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)))
    spectrum *= _frequencies(side) ** -rng.uniform(0.7, 1.7)
    return _unit(_resized(np.fft.irfft2(spectrum, (side, side)).astype(np.float32), size))


def stretched(rng: Rng, size: int) -> Field:
    """Grain along one direction, as of wood, cloth or water."""
    length, width = int(rng.randint(4, 12)), int(rng.randint(48, 160))
    grain = _resized(rng.standard_normal((width, length)).astype(np.float32), size)
    return _unit(grain if rng.rand() < 0.5 else grain.T.copy())


def stripes(rng: Rng, size: int) -> Field:
    """Parallel stripes, from wavy and soft to straight and sharp."""
    along = _direction(rng, size)
    if rng.rand() < 0.4:
        along = along + rng.uniform(1, 6) * fractal(rng, size)
    return _unit(np.tanh(rng.uniform(0.5, 8) * np.sin(along * (math.tau / rng.uniform(8, 60)))))


def checks(rng: Rng, size: int) -> Field:
    """Two crossing sets of stripes: tiles, windows, cloth."""
    period, angle = rng.uniform(14, 60), rng.uniform(0, math.pi) if rng.rand() < 0.3 else 0.0
    across, down = _ramps(size, angle)
    aspect = rng.uniform(0.5, 2)
    product = np.sin(across * (math.tau / period)) * np.sin(down * (math.tau / period / aspect))
    return _unit(np.tanh(rng.uniform(2, 12) * (product + rng.uniform(-0.6, 0.6))))


def cells(rng: Rng, size: int) -> Field:
    """Voronoi cells, each of its own level: stones, leaves, crazed paint."""
    count = int(rng.randint(12, 90))
    points = rng.uniform(0, size, (count, 2))
    # Mirrored at all four sides, so that every cell of a point inside is closed.
    mirrored = [
        points * (-1, 1),
        points * (1, -1),
        (2 * size, 0) + points * (-1, 1),
        (0, 2 * size) + points * (1, -1),
    ]
    diagram = Voronoi(np.concatenate([points, *mirrored]))
    picture = Image.new("F", (size, size))
    draw = ImageDraw.Draw(picture)
    levels, seam = rng.standard_normal(count), rng.uniform(-2, 2) if rng.rand() < 0.4 else None
    for region, level in zip(diagram.point_region[:count], levels, strict=True):
        corners = [(float(x), float(y)) for x, y in diagram.vertices[diagram.regions[region]]]
        draw.polygon(corners, fill=float(level), outline=None if seam is None else float(seam))
    return _unit(np.array(picture))


def slope(rng: Rng, size: int) -> Field:
    """A plain gradient, straight or round a point."""
    if rng.rand() < 0.6:
        return _unit(_direction(rng, size))
    x, y = rng.uniform(0, size, 2)
    places = np.arange(size, dtype=np.float32)
    return _unit(np.hypot(places[None, :] - np.float32(x), places[:, None] - np.float32(y)))


_KINDS: tuple[Callable[[Rng, int], Field], ...] = (
    fractal,
    spectral,
    stretched,
    stripes,
    checks,
    cells,
    slope,
)
_WEIGHTS = (0.32, 0.24, 0.07, 0.07, 0.07, 0.09, 0.14)


def _direction(rng: Rng, size: int) -> Field:
    angle = rng.uniform(0, math.tau) if rng.rand() < 0.5 else rng.randint(2) * math.pi / 2
    return _ramps(size, angle)[0]


def _ramps(size: int, angle: float) -> tuple[Field, Field]:
    """Return how far every pixel lies along ``angle`` and across it."""
    places = np.arange(size, dtype=np.float32)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return (
        places[None, :] * cosine + places[:, None] * sine,
        places[:, None] * cosine - places[None, :] * sine,
    )


def _resized(field: Field, size: int) -> Field:
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC))


def _unit(field: npt.NDArray[np.floating]) -> Field:
    centred = field - field.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-6), np.float32)


@cache
def _frequencies(side: int) -> Field:
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    radius = np.hypot(down, across)
    radius[0, 0] = radius[0, 1]
    return np.asarray(radius * side, np.float32)
