"""Scenes that training never sees, to judge models by: a drive, a machine drawn in lines, a game of balls."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from autogaze.datasets.synthetic.motion import SIDE, Clock, Pose, place
from autogaze.datasets.synthetic.paint import (
    OVERSAMPLING,
    Brush,
    Colour,
    bricks,
    noise,
    shade,
    sprite,
    tinted,
)
from autogaze.datasets.synthetic.scenes import Scene
from autogaze.datasets.synthetic.sprites import words
from autogaze.datasets.synthetic.textures import Rng, draw_colour

_FAR, _NEAR = 90.0, 2.2
"""Metres from the camera at which what stands along the road comes into sight and leaves it."""

_FOCUS = 150.0
"""Pixels that a metre takes at a distance of one metre."""

_EYES = 1.5
"""Metres of the camera over the road."""


def draw_held_out_scene(rng: Rng) -> Scene:
    """Draw one of the three kinds."""
    kind = rng.randint(3)
    if kind == 0:
        return Drive.draw(rng)
    return Machine.draw(rng) if kind == 1 else Balls.draw(rng)


@dataclass(frozen=True)
class Landmark:
    """Something upright beside or on the road, as a sprite of ``unit`` pixels a metre."""

    sprite: Image.Image
    unit: float
    across: float
    """Metres right of the middle of the road, of its middle."""
    ahead: float
    """Metres ahead of the camera at the start."""
    speed: float = 0.0
    """Metres a frame, in the camera's direction."""


@dataclass(frozen=True)
class Drive:
    """A road to the horizon with lane lines, houses and trees along it and cars on it, driven along."""

    sky: Image.Image
    asphalt: npt.NDArray[np.float32]
    verge: Colour
    horizon: int
    speed: float
    bend: float
    landmarks: tuple[Landmark, ...]
    clock: Clock

    @classmethod
    def draw(cls, rng: Rng) -> "Drive":
        """Draw a road, what stands along it, and how fast it is driven: up to 1.2 metres a frame."""
        horizon = int(rng.randint(70, 110))
        landmarks = [_building(rng, side, ahead) for side in (-1, 1) for ahead in _along_road(rng)]
        landmarks += [_car(rng) for _ in range(rng.randint(1, 5))]
        return cls(
            _sky(rng, horizon),
            noise(rng, 128, 128, 16)[..., None] * rng.uniform(2, 7),
            draw_colour(rng, rng.uniform(0.25, 0.6)),
            horizon,
            rng.choice([0.0, rng.uniform(0.05, 0.4), rng.uniform(0.3, 1.2)]),
            rng.normal(0, 0.0006),
            tuple(landmarks),
            Clock.draw(rng),
        )

    def frames(self) -> Iterator[Image.Image]:
        """See :meth:`autogaze.datasets.synthetic.scenes.Scene.frames`."""
        return map(self._paint, map(self.clock, count()))

    def _paint(self, t: float) -> Image.Image:
        picture = self.sky.copy()
        picture.paste(Image.fromarray(self._ground(self.speed * t)), (0, self.horizon))
        seen = [(mark.ahead + (mark.speed - self.speed) * t, mark) for mark in self.landmarks]
        for distance, mark in sorted(seen, key=lambda pair: -pair[0]):
            if _NEAR < distance < _FAR:
                scale = _FOCUS / distance
                x = SIDE / 2 + scale * (mark.across + self.bend * distance**2)
                bottom = self.horizon + scale * _EYES
                size = scale / mark.unit
                place(picture, mark.sprite, Pose(x, bottom - size * mark.sprite.height / 2, 0, size))
        return picture

    def _ground(self, driven: float) -> npt.NDArray[np.uint8]:
        """Return the road and its verges below the horizon, (rows, SIDE, 3)."""
        distance, across = self._places
        along = distance + driven
        grain = self.asphalt[(along * 9).astype(int) % 128, (across * 9).astype(int) % 128]
        ground = np.where((np.abs(across) < 4.2)[..., None], 92.0, np.array(self.verge, np.float32)) + grain
        dashed = (np.abs(across) < 0.09) & (along % 6 < 3)
        ground[dashed | (np.abs(np.abs(across) - 3.7) < 0.08)] = 226
        return np.asarray(ground.clip(0, 255), np.uint8)

    @cached_property
    def _places(self) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]:
        """Metres ahead (rows, 1) and across (rows, SIDE) of the pixels below the horizon."""
        distance = _FOCUS * _EYES / (np.arange(1, SIDE - self.horizon + 1) - 0.5)[:, None]
        columns = np.arange(SIDE) + 0.5 - SIDE / 2
        return distance, columns[None, :] * distance / _FOCUS - self.bend * distance**2


def _along_road(rng: Rng) -> list[float]:
    return list(np.cumsum(rng.uniform(3, 16, 10)))


def _sky(rng: Rng, horizon: int) -> Image.Image:
    top, bottom = np.array(draw_colour(rng, 0.75), np.float32), np.array(draw_colour(rng, 0.92), np.float32)
    rows = np.linspace(0, 1, horizon, dtype=np.float32)[:, None, None]
    sky = Image.new("RGB", (SIDE, SIDE))
    clouds = 10 * noise(rng, horizon, SIDE, 32)[..., None]
    sky.paste(Image.fromarray((top + (bottom - top) * rows + clouds).clip(0, 255).astype(np.uint8)))
    return sky


def _building(rng: Rng, side: int, ahead: float) -> Landmark:
    """A house front of windows in rows, or a post with a sign."""
    unit = 12.0
    if rng.rand() < 0.3:
        text, board = words(rng, 5), draw_colour(rng, 0.3)

        def paint(brush: Brush) -> None:
            brush.box(0.7, 0.9, 0.8, 3.2, (70, 72, 76))
            brush.box(0, 0, 1.5, 0.9, board)
            brush.text(0.75, 0.45, text, (240, 240, 236), 0.42)

        return Landmark(sprite(1.5, 3.2, 3 * unit, paint), 3 * unit, side * rng.uniform(4.6, 6), ahead)
    width, height = rng.uniform(4, 9), rng.uniform(4, 13)
    colour = draw_colour(rng, rng.uniform(0.35, 0.8))
    wall = bricks(rng, round(height * unit), round(width * unit), colour, 4).convert("RGBA")
    draw = ImageDraw.Draw(wall)
    pane = shade(draw_colour(rng, 0.5), rng.uniform(0.3, 1.2))
    for y in np.arange(0.8, height - 1.4, 2.6):
        for x in np.arange(0.6, width - 1.2, 1.9):
            corners = (unit * x, unit * y, unit * (x + 1), unit * (y + 1.5))
            draw.rectangle(corners, fill=pane, outline=(220, 216, 206))
    return Landmark(wall, unit, side * (5.6 + width / 2 + rng.uniform(0, 3)), ahead)


def _car(rng: Rng) -> Landmark:
    """A car seen from behind, or from the front where it comes towards the camera."""
    colour, comes = draw_colour(rng), rng.rand() < 0.5
    lamps: Colour = (255, 244, 214) if comes else (212, 34, 28)

    def paint(brush: Brush) -> None:
        for left in (0.1, 1.35):
            brush.box(left, 1.05, left + 0.3, 1.45, (20, 20, 22))
        brush.box(0.22, 0, 1.53, 0.7, colour, corner=0.2)
        brush.box(0.32, 0.1, 1.43, 0.55, (40, 50, 60), corner=0.1)
        brush.box(0, 0.5, 1.75, 1.2, colour, corner=0.12)
        brush.box(0.55, 0.85, 1.2, 1.05, (236, 236, 226))
        for left in (0.06, 1.39):
            brush.box(left, 0.62, left + 0.3, 0.8, lamps)

    speed = -rng.uniform(0.2, 0.8) if comes else rng.uniform(0, 1)
    return Landmark(sprite(1.75, 1.45, 40, paint), 40, -1.85 if comes else 1.85, rng.uniform(5, 45), speed)


@dataclass(frozen=True)
class Wheel:
    """A toothed, spoked or belted wheel of a machine."""

    x: float
    y: float
    radius: float
    spokes: int
    teeth: int
    rate: float
    """Radians a frame."""
    rod: float
    """Length of the rod that its rim drives; 0 for none."""


def _wheel(rng: Rng) -> Wheel:
    x, y = rng.uniform(30, SIDE - 30, 2)
    return Wheel(
        x,
        y,
        radius=rng.uniform(12, 52),
        spokes=int(rng.randint(2, 9)),
        teeth=int(rng.choice([0, 0, 12, 20])),
        rate=rng.choice([0, 1, 1, 1]) * rng.normal(0, 0.12),
        rod=rng.choice([0.0, rng.uniform(40, 110)]),
    )


@dataclass(frozen=True)
class Machine:
    """A drawing in lines of turning wheels, rods and a swinging pendulum, on squared or plain paper."""

    paper: Image.Image
    ink: Colour
    width: int
    wheels: tuple[Wheel, ...]
    clock: Clock

    @classmethod
    def draw(cls, rng: Rng) -> "Machine":
        """Draw a machine of one to five wheels, dark on light or light on dark."""
        dark = rng.rand() < 0.35
        colour = draw_colour(rng, rng.uniform(0.08, 0.25) if dark else rng.uniform(0.85, 1))
        paper = Image.fromarray(tinted(noise(rng, SIDE, SIDE, 32), colour, 1.5).clip(0, 255).astype(np.uint8))
        if rng.rand() < 0.4:
            draw, step = ImageDraw.Draw(paper), int(rng.randint(10, 28))
            for offset in range(0, SIDE, step):
                draw.line((offset, 0, offset, SIDE), fill=shade(colour, 1.4 if dark else 0.88))
                draw.line((0, offset, SIDE, offset), fill=shade(colour, 1.4 if dark else 0.88))
        wheels = tuple(_wheel(rng) for _ in range(rng.randint(1, 6)))
        ink = draw_colour(rng, rng.uniform(0.8, 1) if dark else rng.uniform(0, 0.3))
        return cls(paper, ink, int(rng.randint(2, 6)), wheels, Clock.draw(rng))

    def frames(self) -> Iterator[Image.Image]:
        """See :meth:`autogaze.datasets.synthetic.scenes.Scene.frames`."""
        return map(self._paint, map(self.clock, count()))

    def _paint(self, t: float) -> Image.Image:
        lines = Image.new("L", (OVERSAMPLING * SIDE, OVERSAMPLING * SIDE))
        draw = ImageDraw.Draw(lines)
        for wheel in self.wheels:
            self._draw_wheel(draw, wheel, wheel.rate * t)
        picture = self.paper.copy()
        picture.paste(self.ink, (0, 0), lines.reduce(OVERSAMPLING))
        return picture

    def _draw_wheel(self, draw: ImageDraw.ImageDraw, wheel: Wheel, angle: float) -> None:
        x, y, radius = (OVERSAMPLING * length for length in (wheel.x, wheel.y, wheel.radius))
        for reach in (radius, 0.18 * radius):
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=255, width=self.width)
        for spoke in range(wheel.spokes):
            turn = angle + spoke * math.tau / wheel.spokes
            draw.line(
                (x, y, x + radius * math.cos(turn), y + radius * math.sin(turn)), fill=255, width=self.width
            )
        for tooth in range(wheel.teeth):
            turn = angle + tooth * math.tau / wheel.teeth
            inner, outer = ((r * radius * math.cos(turn), r * radius * math.sin(turn)) for r in (1, 1.15))
            draw.line(
                (x + inner[0], y + inner[1], x + outer[0], y + outer[1]), fill=255, width=2 * self.width
            )
        if wheel.rod:
            crank = radius * math.cos(angle), radius * math.sin(angle)
            rod = OVERSAMPLING * wheel.rod + radius
            slide = crank[0] + math.sqrt(rod**2 - crank[1] ** 2)
            draw.line((x + crank[0], y + crank[1], x + slide, y), fill=255, width=self.width)
            box, half = x + slide, 4 * OVERSAMPLING
            draw.rectangle((box - half, y - half, box + half, y + half), outline=255, width=self.width)


@dataclass(frozen=True)
class Balls:
    """Balls that bounce between the walls of a marked court under gravity, with a clock on the board."""

    court: Image.Image
    balls: tuple[tuple[Image.Image, "Flight"], ...]
    ink: Colour
    clock: Clock
    score: int

    @classmethod
    def draw(cls, rng: Rng) -> "Balls":
        """Draw a court and one to seven balls."""
        colour = draw_colour(rng)
        court = Image.fromarray(
            tinted(noise(rng, SIDE, SIDE, 16), colour, rng.uniform(1, 6)).clip(0, 255).astype(np.uint8)
        )
        ink = shade(colour, 0.55) if sum(colour) > 300 else (222, 222, 214)
        draw = ImageDraw.Draw(court)
        draw.rectangle((6, 26, SIDE - 7, SIDE - 7), outline=ink, width=2)
        if rng.rand() < 0.6:
            draw.line((SIDE // 2, 26, SIDE // 2, SIDE - 7), fill=ink, width=2)
            draw.ellipse((82, 96, 142, 156), outline=ink, width=2)
        balls = tuple((_ball(rng), Flight.draw(rng)) for _ in range(rng.randint(1, 8)))
        return cls(court, balls, ink, Clock.draw(rng), int(rng.randint(0, 900)))

    def frames(self) -> Iterator[Image.Image]:
        """See :meth:`autogaze.datasets.synthetic.scenes.Scene.frames`."""
        return map(self._paint, map(self.clock, count()))

    def _paint(self, t: float) -> Image.Image:
        picture = self.court.copy()
        text = f"{self.score:03d}  {int(t) // 4:02d}"
        Brush(ImageDraw.Draw(picture), 1).text(SIDE / 2, 13, text, self.ink, 16)
        for ball, flight in self.balls:
            place(picture, ball, flight(t, ball.width / 2))
        return picture


@dataclass(frozen=True)
class Flight:
    """A bouncing ball, whose height repeats itself with every bounce."""

    x: float
    speed: float
    height: float
    period: float
    phase: float
    spin: float

    @classmethod
    def draw(cls, rng: Rng) -> "Flight":
        """Draw a flight; one ball in four lies still."""
        moves = rng.rand() < 0.75
        return cls(
            rng.uniform(0, 400),
            moves * rng.normal(0, 2.5),
            rng.uniform(10, 150),
            rng.uniform(8, 30) if moves else math.inf,
            rng.rand(),
            moves * rng.normal(0, 0.15),
        )

    def __call__(self, t: float, radius: float) -> Pose:
        """Return the pose of a ball of ``radius`` pixels at ``t``."""
        span = SIDE - 16 - 2 * radius
        across = (self.x + self.speed * t) % (2 * span)
        bounce = (self.phase + t / self.period) % 1
        up = min(self.height, SIDE - 40 - 2 * radius) * 4 * bounce * (1 - bounce)
        return Pose(8 + radius + min(across, 2 * span - across), SIDE - 8 - radius - up, self.spin * t)


def _ball(rng: Rng) -> Image.Image:
    """A ball with a stripe, by which its spin is seen."""
    diameter, colour, stripe = rng.uniform(10, 44), draw_colour(rng), draw_colour(rng)

    def paint(brush: Brush) -> None:
        brush.oval(0, 0, 1, 1, shade(colour, 0.6))
        brush.oval(0.05, 0.05, 0.92, 0.92, colour)
        brush.line((0.12, 0.5), (0.88, 0.5), stripe, 0.12)
        brush.oval(0.24, 0.2, 0.4, 0.36, shade(colour, 1.6))

    return sprite(1, 1, diameter, paint)
