"""Things of synthetic clips: shapes, signs, figures, boxes and writing, as RGBA sprites with smooth edges."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from autogaze.datasets.synthetic.paint import Brush, Colour, Point, shade, sprite
from autogaze.datasets.synthetic.textures import Rng, draw_colour, surface

_LETTERS = "abcdefghiklmnoprstuvwxyzABCDEFGHKLMNOPRSTUVWXYZ0123456789"


def thing(rng: Rng, extent: float) -> Image.Image:
    """Paint a thing about ``extent`` pixels across."""
    painter = _PAINTERS[rng.choice(len(_PAINTERS), p=_WEIGHTS)]
    return painter(rng, extent)


def blob(rng: Rng, extent: float) -> Image.Image:
    """A rounded, pointed or many-cornered shape with a surface of its own and light from one side."""
    width, height = extent, extent * rng.uniform(0.5, 1.3)
    corners = _outline(rng)
    mask = sprite(width, height, 1, lambda brush: brush.polygon(_fitted(corners, width, height), (0, 0, 0)))
    skin = surface(rng, 96, contrast=rng.uniform(0.03, 0.5)).resize(mask.size, Image.Resampling.BILINEAR)
    if rng.rand() < 0.6:
        skin = ImageChops.multiply(skin, _side_light(rng, mask.size))
    skin = skin.convert("RGBA")
    skin.putalpha(mask.getchannel("A"))
    return _bordered(skin)


def board(rng: Rng, extent: float) -> Image.Image:
    """A sign, screen or page: a plate with lines of writing, bars or a small picture on it."""
    width, height = extent, extent * rng.uniform(0.4, 1.1)
    paper = draw_colour(rng, rng.choice([0.12, 0.9, rng.rand()]))
    ink = contrasting(rng, paper)

    def paint(brush: Brush) -> None:
        brush.box(0, 0, width, height, shade(paper, 0.6), corner=2)
        brush.box(1.5, 1.5, width - 1.5, height - 1.5, paper, corner=2)
        write_lines(rng, brush, (3, 3, width - 3, height - 3), ink)

    return _bordered(sprite(width, height, 1, paint))


def figure(rng: Rng, extent: float) -> Image.Image:
    """Something with a head, a body and limbs."""
    height, width = extent * 1.5, extent * 0.9
    skin, coat, cloth = draw_colour(rng, rng.uniform(0.3, 0.85)), draw_colour(rng), draw_colour(rng)
    spread, lift = rng.uniform(0.04, 0.26, 2) * width
    head, hip = rng.uniform(0.12, 0.17) * height, 0.58 * height

    def paint(brush: Brush) -> None:
        middle = width / 2
        for side in (-1, 1):
            brush.line((middle, hip - 2), (middle + side * spread, height), cloth, 0.14 * width)
            hand = (middle + side * (0.2 * width + lift), hip - lift)
            brush.line((middle + side * 0.12 * width, head * 1.5), hand, shade(coat, 0.8), 0.11 * width)
            brush.oval(hand[0] - 2, hand[1] - 2, hand[0] + 2, hand[1] + 2, skin)
        brush.box(0.3 * width, head * 1.2, 0.7 * width, hip, coat, corner=0.1 * width)
        brush.line((middle, head * 1.3), (middle, hip), shade(coat, 0.6), 1)
        brush.oval(middle - head / 2, 0, middle + head / 2, head * 1.2, shade(skin, 0.45))
        brush.oval(middle - head / 2.4, head * 0.25, middle + head / 2.4, head * 1.25, skin)
        for side in (-1, 1):
            eye = middle + side * head / 5
            brush.oval(eye - 0.7, head * 0.6, eye + 0.7, head * 0.6 + 1.4, (30, 26, 24))

    return _bordered(sprite(width, height, 1, paint))


def boxy(rng: Rng, extent: float) -> Image.Image:
    """A vehicle, house or appliance: a box with panes, knobs and rims in rows."""
    width, height = extent * 1.2, extent * rng.uniform(0.45, 1.0)
    body = draw_colour(rng)
    pane, rows, columns = draw_colour(rng), int(rng.randint(1, 4)), int(rng.randint(2, 6))
    wheels = rng.rand() < 0.4

    def paint(brush: Brush) -> None:
        base = height * (0.85 if wheels else 1)
        brush.box(0, 0, width, base, body, corner=rng.uniform(0, 0.2) * height)
        brush.box(0, base * 0.8, width, base, shade(body, 0.65))
        for row in range(rows):
            for column in range(columns):
                left, top = width * (column + 0.2) / columns, 0.75 * base * (row + 0.25) / rows
                right, bottom = left + 0.62 * width / columns, top + 0.5 * base / rows
                brush.box(left, top, right, bottom, shade(pane, rng.uniform(0.5, 1.4)), corner=1)
        if wheels:
            for x in (0.22 * width, 0.78 * width):
                for radius, colour in ((0.2, (24, 24, 26)), (0.1, (170, 172, 176))):
                    reach = radius * height
                    brush.oval(x - reach, height - 2 * reach, x + reach, height, colour)

    return _bordered(sprite(width, height, 1, paint))


def writing(rng: Rng, extent: float) -> Image.Image:
    """A few words, free of any plate."""
    size = max(6.5, min(extent / 4, rng.lognormal(math.log(10), 0.4)))
    text, ink = words(rng, int(rng.randint(4, 16))), draw_colour(rng, rng.choice([0.05, 0.97]))
    width = 0.62 * size * len(text)
    return _bordered(
        sprite(width, 1.4 * size, 1, lambda brush: brush.text(width / 2, 0.7 * size, text, ink, size))
    )


def twigs(rng: Rng, extent: float) -> Image.Image:
    """Thin strokes: branches, cables, grass, scribbles."""
    colour, count = draw_colour(rng, rng.uniform(0.05, 0.7)), int(rng.randint(5, 22))
    steps = rng.normal(0, 0.16, (count, 4, 2)) * extent
    starts = rng.uniform(0.2, 0.8, (count, 2)) * extent
    width = rng.uniform(0.6, 2.2)

    def paint(brush: Brush) -> None:
        for start, bends in zip(starts, steps, strict=True):
            corners = np.cumsum(np.vstack([start, bends]), axis=0)
            for begin, end in pairwise(corners):
                brush.line(
                    (begin[0], begin[1]), (end[0], end[1]), shade(colour, rng.uniform(0.7, 1.4)), width
                )

    return _bordered(sprite(extent, extent, 1, paint))


def contrasting(rng: Rng, paper: Colour) -> Colour:
    """Draw a colour that can be read on ``paper``."""
    return draw_colour(rng, rng.uniform(0, 0.3) if sum(paper) > 384 else rng.uniform(0.75, 1))


def words(rng: Rng, length: int) -> str:
    """Draw text of ``length`` letters and blanks."""
    letters = rng.choice(list(_LETTERS), length)
    letters[np.flatnonzero(rng.rand(length) < 0.16)] = " "
    return "".join(letters)


def write_lines(rng: Rng, brush: Brush, box: tuple[float, float, float, float], ink: Colour) -> None:
    """Fill a box with what pages and screens show: lines of text, bars of a chart, boxes, a drawing."""
    left, top, right, bottom = box
    size = min(16.0, max(6.0, rng.lognormal(math.log(8), 0.35)))
    y = top + size
    while y < bottom - size / 2:
        kind = rng.rand()
        if kind < 0.62:
            length = int((right - left) / (0.6 * size) * rng.uniform(0.3, 0.9))
            if length >= 1:
                brush.text(left + 0.3 * size * (length + 1), y, words(rng, length), ink, size)
        elif kind < 0.75:
            brush.box(left, y - size / 2, left + rng.uniform(0.2, 1) * (right - left), y, draw_colour(rng))
        elif kind < 0.85:
            _chart(rng, brush, (left, y - size / 2, right, min(bottom, y + 2 * size)))
            y += 2 * size
        y += size * rng.uniform(1.1, 1.8)


def _chart(rng: Rng, brush: Brush, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    heights, colour = rng.rand(7), draw_colour(rng)
    step = (right - left) / len(heights)
    if rng.rand() < 0.5:
        for place, height in enumerate(heights):
            x = left + step * place
            brush.box(x, bottom - height * (bottom - top), x + 0.7 * step, bottom, colour)
        return
    points: list[Point] = [(left + step * i, bottom - h * (bottom - top)) for i, h in enumerate(heights)]
    for start, end in pairwise(points):
        brush.line(start, end, colour, 1)
        brush.oval(end[0] - 2, end[1] - 2, end[0] + 2, end[1] + 2, shade(colour, 0.7))


def _outline(rng: Rng) -> list[Point]:
    """Return the corners of a shape about the origin, within the unit circle."""
    if rng.rand() < 0.3:
        count = int(rng.randint(3, 9))
        turns = np.sort(rng.uniform(0, math.tau, count))
        reach = rng.uniform(0.6, 1, count)
    else:
        turns = np.linspace(0, math.tau, 40, endpoint=False)
        reach = np.ones(40)
        for order in range(2, 6):
            reach += rng.rand() * (rng.rand() < 0.5) / order * 0.7 * np.cos(order * turns + rng.uniform(0, 6))
        reach /= reach.max()
    return [(float(r * math.cos(a)), float(r * math.sin(a))) for r, a in zip(reach, turns, strict=True)]


def _fitted(corners: list[Point], width: float, height: float) -> list[Point]:
    return [((0.5 + 0.48 * x) * width, (0.5 + 0.48 * y) * height) for x, y in corners]


def _side_light(rng: Rng, size: tuple[int, int]) -> Image.Image:
    light = Image.linear_gradient("L").rotate(int(rng.randint(4)) * 90)
    dark = int(rng.randint(60, 190))
    light = light.point([dark + (255 - dark) * level // 255 for level in range(256)])
    return light.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def _bordered(picture: Image.Image) -> Image.Image:
    """Return the sprite inside one clear pixel, so that its edge is smooth wherever it lands."""
    framed = Image.new("RGBA", (picture.width + 2, picture.height + 2))
    framed.paste(picture, (1, 1))
    return framed


def out_of_focus(picture: Image.Image, radius: float) -> Image.Image:
    """Blur a picture or a sprite, whose edge grows by the blur."""
    if picture.mode != "RGBA":
        return picture.filter(ImageFilter.GaussianBlur(radius))
    margin = math.ceil(2 * radius)
    grown = Image.new("RGBA", (picture.width + 2 * margin, picture.height + 2 * margin))
    grown.paste(picture, (margin, margin))
    return grown.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")


_PAINTERS: tuple[Callable[[Rng, float], Image.Image], ...] = (blob, figure, boxy, board, writing, twigs)
_WEIGHTS = (0.36, 0.16, 0.16, 0.14, 0.1, 0.08)
