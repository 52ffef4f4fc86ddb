"""The scenery of the street scene, from far to near: sky, towers, a row of shops, the ground."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from autogaze.datasets.synthetic.paint import Brush, Colour, bricks, noise, shade, tinted

STOREY, SHOP, CORNICE = 3.1, 3.6, 0.6
"""Heights in metres."""

SHOPS = (
    ("BAKERY", 3),
    ("BOOKS & MAPS", 2),
    ("CAFE LUMEN", 1),
    ("RADIO - TV", 4),
    ("FLOWERS", 2),
    ("PHARMACY", 3),
    ("TEA ROOM", 2),
    ("CYCLES", 1),
)
"""Their names, and how many storeys stand over them."""

FRAME, STONE = (226, 220, 208), (168, 162, 152)


def sky(rng: np.random.RandomState, size: int) -> npt.NDArray[np.uint8]:
    """Return (size, size, 3): blue above, haze below, a few clouds."""
    rows = np.linspace(0, 1, size)[:, None, None]
    blue = np.array([108, 150, 204]) * (1 - rows) + np.array([232, 226, 214]) * rows
    cloud = 0.7 * np.clip(noise(rng, size, size, 128, 0.5) - 0.2, 0, 1)[..., None]
    return np.asarray(blue * (1 - cloud) + 250 * cloud).astype(np.uint8)


def skyline(rng: np.random.RandomState, width: int) -> Image.Image:
    """Return far towers with rows of windows, a little blurred by the haze, RGBA."""
    height = 240
    picture = Image.new("RGBA", (width, height))
    brush = Brush(ImageDraw.Draw(picture), 1)
    left = 0
    while left < width:
        right, top = left + rng.randint(26, 60), height - rng.randint(120, 236)
        colour = shade((136, 148, 168), 0.85 + 0.3 * rng.rand())
        brush.box(left, top, right, height, colour)
        for y in range(top + 4, height - 4, 6):
            for x in range(left + 3, right - 3, 5):
                brush.box(x, y, x + 2, y + 2, shade(colour, 1.35 if rng.rand() < 0.2 else 0.8))
        left = right + rng.randint(-4, 8)
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def houses(rng: np.random.RandomState, length: int, unit: int) -> Image.Image:
    """Return the row of houses, ``length`` metres of it at ``unit`` pixels a metre, RGBA."""
    colours = (
        ((146, 82, 64), (178, 150, 116), (120, 72, 66)),
        ((158, 118, 84), (136, 132, 126), (168, 98, 70)),
    )
    row = Image.new("RGBA", (length * unit, 16 * unit))
    left, index = 0.0, 0
    while left < length:
        width, colour = rng.uniform(6.0, 9.0), colours[index // 3 % 2][index % 3]
        front = _house(rng, width, *SHOPS[index % len(SHOPS)], colour, 3 * unit)
        front = front.resize((round(width * unit), front.height // 3), Image.Resampling.LANCZOS)
        row.paste(front, (round(left * unit), row.height - front.height))
        index += 1
        left += width + (1.2 if index % 3 == 0 else 0)
    return row


def _house(
    rng: np.random.RandomState, width: float, name: str, storeys: int, colour: Colour, unit: int
) -> Image.Image:
    """Return a house front ``width`` metres wide, ``unit`` pixels a metre, with ``name`` over its shop."""
    height = SHOP + storeys * STOREY + CORNICE
    wall = bricks(rng, round(height * unit), round(width * unit), colour, max(2, unit // 4)).convert("RGBA")
    brush = Brush(ImageDraw.Draw(wall), unit)
    brush.box(0, 0, width, CORNICE, shade(colour, 1.35))
    for tooth in np.arange(0, width, 0.5):
        brush.box(tooth, 0.4, tooth + 0.25, 0.75, shade(colour, 0.6))
    columns = max(2, round(width / 2.3))
    for storey in range(storeys):
        for column in range(columns):
            _window(rng, brush, (column + 0.5) * width / columns - 0.6, 1.3 + storey * STOREY)
    _shop(rng, brush, width, height - SHOP, name)
    return wall


def _window(rng: np.random.RandomState, brush: Brush, left: float, top: float) -> None:
    width, height, bar = 1.2, 1.8, 0.1
    right, bottom = left + width, top + height
    glass = (255, 226, 150) if rng.rand() < 0.16 else shade((74, 92, 112), 0.7 + 0.6 * rng.rand())
    brush.box(left - bar, top - bar, right + bar, bottom + bar, FRAME)
    brush.box(left, top, right, bottom, glass)
    brush.polygon([(left, top), (left + 0.7, top), (left, top + 1)], shade(glass, 1.3))
    if rng.rand() < 0.5:
        curtain = shade((214, 196, 176), 0.6 + 0.4 * rng.rand())
        brush.box(left, top, left + 0.34, bottom, curtain)
        brush.box(right - 0.34, top, right, bottom, curtain)
    brush.line((left + width / 2, top), (left + width / 2, bottom), FRAME, 0.07)
    brush.line((left, top + 0.7), (right, top + 0.7), FRAME, 0.07)
    brush.box(left - 2 * bar, bottom + bar, right + 2 * bar, bottom + 2.2 * bar, STONE)


def _shop(rng: np.random.RandomState, brush: Brush, width: float, top: float, name: str) -> None:
    trim = shade((58, 74, 66), 0.7 + 0.9 * rng.rand())
    brush.box(0, top, width, top + SHOP, trim)
    brush.box(0.2, top + 0.1, width - 0.2, top + 0.95, shade(trim, 0.55))
    brush.text(width / 2, top + 0.52, name, (246, 230, 176), 0.62)
    awning = ((rng.randint(40, 200), rng.randint(40, 110), rng.randint(40, 120)), (236, 232, 222))
    for stripe in range(int(width / 0.45) + 1):
        left, right = stripe * 0.45, stripe * 0.45 + 0.45
        corners = [(left, top + 1), (right, top + 1), (right + 0.05, top + 1.5), (left + 0.05, top + 1.5)]
        brush.polygon(corners, awning[stripe % 2])
    door, shelf = width * (0.12 + 0.6 * rng.rand()), top + SHOP - 0.55
    brush.box(0.3, top + 1.55, width - 0.3, shelf, (52, 60, 68))
    for _ in range(int(width * 4)):
        left = rng.uniform(0.4, width - 1)
        goods = (rng.randint(90, 250), rng.randint(80, 220), rng.randint(60, 200))
        brush.box(left, shelf - rng.uniform(0.2, 0.9), left + rng.uniform(0.1, 0.5), shelf, goods)
    brush.box(door, top + 1.5, door + 1.1, top + SHOP, shade(trim, 1.5))
    brush.box(door + 0.15, top + 1.65, door + 0.95, top + SHOP - 0.7, (86, 104, 118))
    brush.oval(door + 0.85, top + SHOP - 1.1, door + 1, top + SHOP - 0.95, (230, 200, 90))


def ground(rng: np.random.RandomState, length: int) -> npt.NDArray[np.float32]:
    """Return the street from the houses (first row) to the camera (last): (rows, 40 columns a metre, 3)."""
    height, width = 404, length * 40
    street = tinted(noise(rng, height, width, 64, 0.8), (92, 92, 96), 9)
    street[:56] = _pavement(rng, 56, width, tile=30)
    street[344:] = _pavement(rng, 60, width, tile=48)
    for kerb in (56, 338):
        street[kerb : kerb + 6] = (196, 192, 184)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    worn = noise(rng, height, width, 8) < -1.7
    dashes = (rows >= 176) & (rows < 184) & (columns % 160 < 80)
    edges = (rows >= 72) & (rows < 75) | (rows >= 324) & (rows < 328)
    street[(dashes | edges) & ~worn] = (222, 218, 204)
    for _ in range(14):
        y, x, radius = rng.randint(90, 320), rng.randint(60, width - 60), rng.randint(8, 22)
        street[((rows - y) / 0.6) ** 2 + (columns - x) ** 2 < radius * radius] *= rng.uniform(0.6, 0.85)
    return street


def _pavement(rng: np.random.RandomState, height: int, width: int, tile: int) -> npt.NDArray[np.float32]:
    rows, columns = np.arange(height)[:, None], np.arange(width)[None, :]
    shades = rng.normal(0, 9, (height // 15 + 1, width // tile + 1))
    slabs = tinted(noise(rng, height, width, 16, 0.8), (158, 150, 138), 8)
    slabs += shades[rows // 15, columns // tile][..., None]
    slabs[(rows % 15 == 0) | (columns % tile < 2)] = (108, 102, 94)
    return slabs
