"""The scenes that training sees, painted as a camera sees them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from autogaze.datasets.synthetic import sprites
from autogaze.datasets.synthetic.motion import (
    CANVAS,
    SIDE,
    Camera,
    Clock,
    Path,
    Pose,
    Wave,
    draw_path,
    in_picture,
    place,
    seen,
)
from autogaze.datasets.synthetic.paint import Brush, Colour, shade, sprite
from autogaze.datasets.synthetic.textures import Rng, draw_colour, fractal, surface, tint


class Scene(Protocol):
    """Anything that can be painted frame by frame."""

    def frames(self) -> Iterator[Image.Image]:
        """Yield pictures (SIDE, SIDE) RGB without end; each may be changed by who gets it."""


@dataclass(frozen=True)
class Actor:
    """A sprite on its path; a ``pinned`` one moves in the picture, whatever the camera does."""

    sprite: Image.Image
    path: Path
    parallax: float = 1.0
    pinned: bool = False


@dataclass(frozen=True)
class World:
    """A painted canvas, a camera over it, and actors in front of it, the nearest last."""

    canvas: Image.Image
    camera: Camera
    actors: tuple[Actor, ...]
    clock: Clock

    def frames(self) -> Iterator[Image.Image]:
        """See :meth:`Scene.frames`."""
        view, background = None, self.canvas
        for t in map(self.clock, count()):
            # A camera that stands still, as half of them do, sees the same canvas again.
            if view != (view := self.camera(t)):
                background = seen(self.canvas, view)
            picture = background.copy()
            for actor in self.actors:
                pose = actor.path(t)
                if pose is not None:
                    if not actor.pinned:
                        pose = in_picture(pose, view, actor.parallax)
                    place(picture, actor.sprite, pose)
            yield picture


@dataclass(frozen=True)
class Cut:
    """One scene for some frames, then another."""

    before: Scene
    length: int
    after: Scene

    def frames(self) -> Iterator[Image.Image]:
        """See :meth:`Scene.frames`."""
        yield from islice(self.before.frames(), self.length)
        yield from self.after.frames()


def draw_scene(rng: Rng) -> Scene:
    """Draw a scene; one in ten is cut to another."""
    scene: Scene = _draw_world(rng)
    if rng.rand() < 0.1:
        scene = Cut(scene, int(rng.randint(2, 15)), _draw_world(rng))
    return scene


def _draw_world(rng: Rng) -> World:
    canvas = _BACKDROPS[rng.choice(len(_BACKDROPS), p=_WEIGHTS)](rng)
    if rng.rand() < 0.2:
        canvas = sprites.out_of_focus(canvas, min(5.0, rng.lognormal(math.log(1.2), 0.7)))
    camera, clock = Camera.draw(rng), Clock.draw(rng)
    actors = [
        _draw_actor(rng) for _ in range(rng.choice([0, 1, 2, 3, 4, 6], p=[0.1, 0.28, 0.26, 0.18, 0.1, 0.08]))
    ]
    if rng.rand() < 0.16:
        actors += _overlay(rng)
    return World(canvas, camera, tuple(actors), clock)


def _draw_actor(rng: Rng) -> Actor:
    extent = float(np.clip(rng.lognormal(math.log(44), 0.55), 10, 160))
    thing = sprites.thing(rng, extent)
    parallax = rng.uniform(1, 1.7) if rng.rand() < 0.35 else 1.0
    if parallax > 1.35 and rng.rand() < 0.5:
        thing = sprites.out_of_focus(thing, rng.uniform(0.6, 2.5))
    return Actor(thing, draw_path(rng), parallax)


def rooms(rng: Rng) -> Image.Image:
    """Walls, floors and furniture: a few flat surfaces that meet at edges, and things on them."""
    canvas = surface(rng, CANVAS)
    edge = int(rng.uniform(0.45, 0.8) * CANVAS)
    if rng.rand() < 0.7:
        canvas.paste(surface(rng, CANVAS), (0, edge))
    for _ in range(rng.randint(0, 5)):
        _paste_panel(rng, canvas, surface(rng, 192), edge)
    if rng.rand() < 0.3:
        _scatter(rng, canvas, 0)
    _furnish(rng, canvas, int(rng.randint(2, 40)))
    return canvas


def landscape(rng: Rng) -> Image.Image:
    """Sky, hills one behind the other, and ground."""
    canvas = _sky(rng)
    colour, rows = (
        draw_colour(rng, rng.uniform(0.25, 0.7)),
        np.sort(rng.uniform(0.3, 0.85, rng.randint(1, 5))),
    )
    places = np.arange(0, CANVAS + 8, 8)
    for depth, row in enumerate(rows):
        rough = rng.uniform(4, 40) * (depth + 1) / len(rows)
        ridge = row * CANVAS + rough * _profile(rng, len(places))
        ground = tint(rng, fractal(rng, CANVAS), rng.uniform(0.1, 0.6))
        ground = Image.blend(ground, Image.new("RGB", ground.size, shade(colour, 1.1 - 0.2 * depth)), 0.3)
        mask = Image.new("L", canvas.size)
        outline = [*zip(places.tolist(), ridge.tolist(), strict=True), (CANVAS, CANVAS), (0, CANVAS)]
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        canvas.paste(ground, (0, 0), mask)
    if rng.rand() < 0.65:
        _scatter(rng, canvas, float(rows[0]))
    _furnish(rng, canvas, int(rng.randint(0, 30)), low=float(rows[0]))
    return canvas


def close_up(rng: Rng) -> Image.Image:
    """One surface that fills the picture, sometimes a busy one."""
    return surface(rng, CANVAS, contrast=float(rng.uniform(0.1, 0.7)))


def screens(rng: Rng) -> Image.Image:
    """A wall of pictures, windows or pages."""
    canvas = surface(rng, CANVAS, contrast=0.05)
    columns, rows = rng.randint(1, 5, 2)
    width, height = CANVAS / columns, CANVAS / rows
    for row in range(rows):
        for column in range(columns):
            if rng.rand() < 0.15:
                continue
            inset = rng.uniform(0.02, 0.12) * min(width, height)
            size = max(8, int(width - 2 * inset)), max(8, int(height - 2 * inset))
            page = _page(rng, size) if rng.rand() < 0.55 else _picture(rng, size)
            canvas.paste(page, (int(column * width + inset), int(row * height + inset)))
    return canvas


def gloom(rng: Rng) -> Image.Image:
    """Nearly one colour, with few lights or marks: night, water, snow, an empty wall."""
    canvas = surface(rng, CANVAS, contrast=rng.uniform(0.02, 0.08))
    if rng.rand() < 0.6:
        _furnish(rng, canvas, int(rng.randint(1, 12)), extent=14)
    return canvas


_BACKDROPS: tuple[Callable[[Rng], Image.Image], ...] = (rooms, landscape, close_up, screens, gloom)
_WEIGHTS = (0.4, 0.24, 0.1, 0.18, 0.08)


def _sky(rng: Rng) -> Image.Image:
    top, bottom = (np.array(draw_colour(rng, rng.uniform(0.3, 1)), np.float32) for _ in range(2))
    rows = np.linspace(0, 1, CANVAS, dtype=np.float32)[:, None, None]
    gradient = np.broadcast_to(top + (bottom - top) * rows, (CANVAS, CANVAS, 3))
    if rng.rand() < 0.5:
        clouds = np.clip(fractal(rng, CANVAS) - rng.uniform(-0.5, 1.2), 0, 1)[..., None] * rng.uniform(
            0.2, 0.8
        )
        gradient = gradient * (1 - clouds) + 245 * clouds
    return Image.fromarray(gradient.astype(np.uint8))


def _profile(rng: Rng, count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return a random skyline of unit size, from rolling to jagged."""
    walk = np.cumsum(rng.standard_normal(count))
    smooth = np.convolve(walk, np.ones(width := int(rng.randint(1, 9))) / width, mode="same")
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6))


def _furnish(rng: Rng, canvas: Image.Image, count: int, low: float = 0.0, extent: float = 34) -> None:
    """Put things that stay where they are on the canvas, below ``low`` of its height."""
    sizes = rng.lognormal(math.log(extent), 0.6, min(count, 8)).clip(8, 160)
    items = [sprites.thing(rng, float(size)) for size in sizes]
    for number in range(count):
        x, y = rng.uniform(0, CANVAS), rng.uniform(low, 1) * CANVAS
        pose = Pose(x, y, rng.normal(0, 0.08), rng.uniform(0.7, 1.2))
        place(canvas, items[number % len(items)], pose)


def _scatter(rng: Rng, canvas: Image.Image, low: float) -> None:
    """Strew many of a kind over the canvas, below ``low`` of its height: leaves, stones, grass, a crowd."""
    middle, spread = rng.uniform(low, 1), rng.uniform(0.05, 0.5)
    for _ in range(rng.randint(1, 4)):
        item = sprites.thing(rng, rng.uniform(7, 26))
        for _ in range(rng.randint(8, 60)):
            x, y = rng.uniform(0, CANVAS), np.clip(rng.normal(middle, spread), low, 1) * CANVAS
            place(canvas, item, Pose(x, float(y), rng.normal(0, 0.4), rng.uniform(0.5, 1.2)))


def _paste_panel(rng: Rng, canvas: Image.Image, panel: Image.Image, edge: int) -> None:
    """Hang a rectangle on the wall, or stand it on the floor at row ``edge``."""
    width, height = rng.randint(24, 180, 2)
    left = int(rng.randint(-20, CANVAS - 20))
    top = int(rng.randint(0, edge)) if rng.rand() < 0.6 else edge - int(rng.randint(0, height))
    panel = panel.resize((int(width), int(height)), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(panel)
    if rng.rand() < 0.6:
        draw.rectangle((0, 0, width - 1, height - 1), outline=draw_colour(rng), width=int(rng.randint(1, 5)))
    canvas.paste(panel, (left, top))


def _page(rng: Rng, size: tuple[int, int]) -> Image.Image:
    paper = draw_colour(rng, rng.choice([0.1, 0.93, 0.93, rng.rand()]))
    page = Image.new("RGB", (2 * size[0], 2 * size[1]), paper)
    brush = Brush(ImageDraw.Draw(page), 2)
    sprites.write_lines(rng, brush, (5, 5, size[0] - 5, size[1] - 5), sprites.contrasting(rng, paper))
    return page.resize(size, Image.Resampling.BILINEAR)


def _picture(rng: Rng, size: tuple[int, int]) -> Image.Image:
    picture = surface(rng, max(size)).crop((0, 0, *size))
    for _ in range(rng.randint(0, 4)):
        extent = rng.uniform(0.2, 0.6) * min(size)
        if extent >= 6:
            x, y = rng.uniform(0, size[0]), rng.uniform(0.3, 1) * size[1]
            place(picture, sprites.thing(rng, extent), Pose(x, y))
    return picture


def _still_path(x: float, y: float, drift: float = 0.0) -> Path:
    return Path(Wave(x, drift), Wave(y), Wave(0), Wave(0), -math.inf, math.inf, 1, 0)


def _overlay(rng: Rng) -> list[Actor]:
    """A banner with running or standing text, as television lays over its pictures, or a small mark."""
    ink, paper = draw_colour(rng, 0.96), draw_colour(rng, rng.uniform(0.1, 0.7))
    if rng.rand() < 0.3:
        mark = sprites.thing(rng, rng.uniform(16, 40))
        return [Actor(mark, _still_path(rng.choice([26, SIDE - 26]), 24), pinned=True)]
    height = int(rng.randint(14, 34))
    y = rng.choice([height / 2 + rng.randint(0, 12), SIDE - height / 2 - rng.randint(0, 20)])
    bar = Image.new("RGBA", (SIDE + 4, height), (*paper, int(rng.randint(150, 256))))
    line = _line_of_text(rng, height, ink)
    runs = rng.rand() < 0.5
    text = _still_path(line.width / 2 + rng.uniform(4, 60), y, -rng.uniform(0.5, 5) if runs else 0.0)
    return [Actor(bar, _still_path(SIDE / 2, y), pinned=True), Actor(line, text, pinned=True)]


def _line_of_text(rng: Rng, height: int, ink: Colour) -> Image.Image:
    size = 0.62 * height
    text = sprites.words(rng, int(rng.randint(12, 40)))
    width = 0.6 * size * len(text)
    return sprite(width, height, 1, lambda brush: brush.text(width / 2, height / 2, text, ink, size))
