"""Brushes and surfaces that painted clips and the street scene share.

Metres are the world's unit. A :class:`Brush` draws in metres, larger than needed, and :func:`sprite` reduces
what it drew, so that edges are smooth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]
Array = npt.NDArray[np.float32]

OVERSAMPLING = 3
SHADOW = (12, 12, 14, 130)


@dataclass(frozen=True)
class Brush:
    """Draws in metres on a picture in which one metre takes ``unit`` pixels."""

    draw: ImageDraw.ImageDraw
    unit: float

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.unit, y * self.unit) for x, y in points]

    def box(
        self, left: float, top: float, right: float, bottom: float, fill: Colour, corner: float = 0
    ) -> None:
        """Fill a rectangle, its corners rounded by a radius of ``corner``."""
        corners = self._pixels([(left, top), (right, bottom)])
        self.draw.rounded_rectangle(corners, corner * self.unit, fill=fill)

    def oval(self, left: float, top: float, right: float, bottom: float, fill: tuple[int, ...]) -> None:
        """Fill the ellipse that a rectangle holds."""
        self.draw.ellipse(self._pixels([(left, top), (right, bottom)]), fill=fill)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        self.draw.polygon(self._pixels(points), fill=fill)

    def line(self, start: Point, end: Point, fill: Colour, width: float) -> None:
        """Draw a line ``width`` metres thick, and one pixel at least."""
        self.draw.line(self._pixels([start, end]), fill=fill, width=max(1, round(width * self.unit)))

    def text(self, x: float, y: float, text: str, fill: Colour, height: float) -> None:
        """Write ``text`` around a point, in Pillow's own typeface, which is the same on every machine."""
        size = max(6, round(height * self.unit))
        self.draw.text((x * self.unit, y * self.unit), text, fill=fill, font=_font(size), anchor="mm")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def sprite(width: float, height: float, scale: float, paint: Callable[[Brush], None]) -> Image.Image:
    """Return what ``paint`` draws on ``width`` x ``height`` metres, RGBA, ``scale`` pixels a metre."""
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.new("RGBA", (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING))
    paint(Brush(ImageDraw.Draw(picture), scale * OVERSAMPLING))
    return picture.resize(size, Image.Resampling.LANCZOS)


def shade(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` lighter (above 1) or darker."""
    red, green, blue = (int(min(255, channel * factor)) for channel in colour)
    return red, green, blue


def noise(
    rng: np.random.RandomState, height: int, width: int, coarsest: int, persistence: float = 0.6
) -> Array:
    """Return (height, width) float32 of unit deviation: random fields added up, ``coarsest`` first."""
    total = np.zeros((height, width), np.float32)
    cell, amplitude = coarsest, 1.0
    while cell >= 1:
        field = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
        picture = Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC)
        total += amplitude * np.asarray(picture)
        cell, amplitude = cell // 2, amplitude * persistence
    return np.asarray(total / total.std(), np.float32)


def tinted(texture: Array, colour: Colour, contrast: float) -> Array:
    """Return (height, width, 3): ``colour`` varied by ``texture``, ``contrast`` grey levels a unit of it."""
    return np.asarray(np.array(colour, np.float32) + contrast * texture[..., None], np.float32)


def bricks(rng: np.random.RandomState, height: int, width: int, colour: Colour, course: int) -> Image.Image:
    """Return a wall of bricks ``course`` pixels high, each of its own shade, with light mortar."""
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    length = course * 5 // 2
    shifted = columns + (rows // course % 2) * (length // 2)
    shades = rng.normal(0, 13, (height // course + 1, width // length + 3))
    wall = tinted(noise(rng, height, width, 64), colour, 6)
    wall += shades[rows // course, shifted // length][..., None]
    wall[(rows % course == 0) | (shifted % length == 0)] = np.array(colour) * 0.4 + 105
    return Image.fromarray(wall.clip(0, 255).astype(np.uint8))
