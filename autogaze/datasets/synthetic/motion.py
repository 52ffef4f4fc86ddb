"""Paths of cameras and sprites in closed form, so that frame ``t`` needs no frame before it.

Lengths are pixels of the painted picture, times are frames, angles are radians.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from autogaze.datasets.synthetic.textures import Rng

SIDE = 224
"""Side of the painted picture."""

CANVAS = 384
"""Side of the world behind it, which the camera stays inside."""


@dataclass(frozen=True)
class View:
    """What the camera sees: the place of the world in the middle of the picture, magnified and turned."""

    x: float
    y: float
    zoom: float = 1.0
    roll: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Where a sprite is in the world, how it is turned and magnified, and how solid it looks."""

    x: float
    y: float
    angle: float = 0.0
    scale: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Wave:
    """A drift, a swing and a jitter about a value."""

    start: float
    drift: float = 0.0
    swing: float = 0.0
    period: float = 30.0
    phase: float = 0.0
    jitter: float = 0.0

    def __call__(self, t: float) -> float:
        value = self.start + self.drift * t
        value += self.swing * math.sin(math.tau * t / self.period + self.phase)
        if self.jitter:
            # Three periods without a common multiple look like the tremor of a hand.
            tremor = math.sin(2.1 * t + self.phase) + math.sin(0.83 * t + 2 * self.phase)
            value += self.jitter * (tremor + 0.6 * math.sin(3.7 * t + 5 * self.phase))
        return value


@dataclass(frozen=True)
class Clock:
    """The scene's own time, which stands still for a stretch of frames."""

    pause: int
    length: int

    @classmethod
    def draw(cls, rng: Rng) -> "Clock":
        """Draw a clock; two in three do not stop within a clip of usual length."""
        pauses = rng.rand() < 0.35
        return cls(int(rng.randint(0, 14)), int(rng.randint(3, 13)) if pauses else 0)

    def __call__(self, frame: int) -> float:
        return float(min(frame, self.pause) + max(0, frame - self.pause - self.length))


@dataclass(frozen=True)
class Camera:
    """A camera that keeps the canvas in view whatever its waves say."""

    x: Wave
    y: Wave
    log_zoom: Wave
    roll: Wave

    @classmethod
    def draw(cls, rng: Rng) -> "Camera":
        """Draw a camera: nearly half stand still; the others pan, zoom, shake, roll, or several of these."""
        still = rng.rand() < 0.45
        pans, zooms, shakes, rolls = (not still) & (rng.rand(4) < (0.6, 0.35, 0.35, 0.12))
        speed, heading = min(7.0, rng.lognormal(math.log(1.1), 0.8)) * pans, rng.uniform(0, math.tau)
        tremor = shakes * rng.uniform(0.2, 1.6)
        phases = rng.uniform(0, math.tau, 4)
        reach = (CANVAS - SIDE) / 4
        starts = CANVAS / 2 + rng.uniform(-reach, reach, 2)
        return cls(
            Wave(starts[0], speed * math.cos(heading), phase=phases[0], jitter=tremor),
            Wave(starts[1], 0.6 * speed * math.sin(heading), phase=phases[1], jitter=tremor),
            Wave(rng.uniform(-0.42, 0.2), zooms * rng.normal(0, 0.012), phase=phases[2]),
            Wave(0, 0, rolls * rng.uniform(0.01, 0.12), rng.uniform(16, 60), phases[3]),
        )

    def __call__(self, t: float) -> View:
        zoom = math.exp(_folded(self.log_zoom(t), -0.45, 0.5))
        roll = self.roll(t)
        half = SIDE / 2 / zoom * (abs(math.cos(roll)) + abs(math.sin(roll))) + 1
        x, y = (_folded(wave(t), half, CANVAS - half) for wave in (self.x, self.y))
        return View(x, y, zoom, roll)


def _folded(value: float, low: float, high: float) -> float:
    """Reflect ``value`` between two walls."""
    span = high - low
    turn = (value - low) % (2 * span)
    return low + min(turn, 2 * span - turn)


def seen(canvas: Image.Image, view: View) -> Image.Image:
    """Return (SIDE, SIDE) of the canvas, between its pixels where the view lies there."""
    half = SIDE / 2 / view.zoom
    left, top = view.x - half, view.y - half
    if view.roll:
        cosine, sine = math.cos(view.roll) / view.zoom, math.sin(view.roll) / view.zoom
        middle = SIDE / 2
        rows = (
            (cosine, sine, view.x - middle * (cosine + sine)),
            (-sine, cosine, view.y - middle * (cosine - sine)),
        )
        return canvas.transform(
            (SIDE, SIDE), Image.Transform.AFFINE, (*rows[0], *rows[1]), Image.Resampling.BILINEAR
        )
    box = (left, top, left + 2 * half, top + 2 * half)
    return canvas.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box)


def place(picture: Image.Image, sprite: Image.Image, pose: Pose) -> None:
    """Lay an RGBA sprite over the picture with its middle at ``pose``, between pixels."""
    cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
    width = (sprite.width * abs(cosine) + sprite.height * abs(sine)) * pose.scale
    height = (sprite.width * abs(sine) + sprite.height * abs(cosine)) * pose.scale
    left, top = math.floor(pose.x - width / 2), math.floor(pose.y - height / 2)
    size = math.ceil(width) + 1, math.ceil(height) + 1
    if left >= picture.width or top >= picture.height or left + size[0] <= 0 or top + size[1] <= 0:
        return
    a, b = cosine / pose.scale, sine / pose.scale
    x, y = pose.x - left, pose.y - top
    inverse = (a, b, sprite.width / 2 - a * x - b * y, -b, a, sprite.height / 2 + b * x - a * y)
    part = sprite.transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    alpha = part.getchannel("A")
    if pose.opacity < 1:
        alpha = alpha.point([round(level * pose.opacity) for level in range(256)])
    picture.paste(part, (left, top), alpha)


def in_picture(pose: Pose, view: View, parallax: float = 1.0) -> Pose:
    """Return where the camera sees what is at ``pose`` in the world.

    ``parallax`` above 1 is nearer to the camera than the background and passes by faster.
    """
    across = pose.x - CANVAS / 2 - parallax * (view.x - CANVAS / 2)
    down = pose.y - CANVAS / 2 - parallax * (view.y - CANVAS / 2)
    cosine, sine = view.zoom * math.cos(view.roll), view.zoom * math.sin(view.roll)
    return Pose(
        SIDE / 2 + cosine * across - sine * down,
        SIDE / 2 + sine * across + cosine * down,
        pose.angle + view.roll,
        pose.scale * view.zoom,
        pose.opacity,
    )


def draw_path(rng: Rng) -> "Path":
    """Draw the path of a sprite: mostly slow, some swing, turn or grow, some appear or vanish."""
    speed = min(9.0, rng.lognormal(math.log(1.3), 0.9)) if rng.rand() < 0.85 else 0.0
    heading = rng.uniform(0, math.tau) if rng.rand() < 0.5 else rng.choice([0.0, math.pi])
    start = CANVAS / 2 + rng.uniform(-0.42, 0.42, 2) * SIDE
    swings = rng.rand() < 0.35
    swing, period, phases = swings * rng.uniform(2, 26), rng.uniform(10, 50), rng.uniform(0, math.tau, 2)
    turns = rng.rand() < 0.3
    fades = rng.rand(2) < 0.14
    return Path(
        x=Wave(start[0], speed * math.cos(heading), 0.6 * swing, period, phases[0]),
        y=Wave(start[1], 0.7 * speed * math.sin(heading), swing, period, phases[1]),
        angle=Wave(
            rng.normal(0, 0.1), turns * rng.normal(0, 0.07), (rng.rand() < 0.2) * 0.3, period, phases[0]
        ),
        log_scale=Wave(0, (rng.rand() < 0.25) * rng.normal(0, 0.018)),
        appears=rng.uniform(1, 14) if fades[0] else -math.inf,
        vanishes=rng.uniform(2, 16) if fades[1] else math.inf,
        fade=float(rng.choice([0.5, 1, 4])),
        wakes=rng.uniform(0, 10) if rng.rand() < 0.2 else 0.0,
    )


@dataclass(frozen=True)
class Path:
    """A sprite's pose over time."""

    x: Wave
    y: Wave
    angle: Wave
    log_scale: Wave
    appears: float
    vanishes: float
    fade: float
    """Frames that appearing and vanishing take."""
    wakes: float
    """Frames before it begins to move."""

    def __call__(self, t: float) -> Pose | None:
        """Return the pose at ``t``; None while there is nothing to see."""
        opacity = min(1.0, (t - self.appears) / self.fade, (self.vanishes - t) / self.fade)
        if opacity <= 0:
            return None
        t = max(0.0, t - self.wakes)
        scale = math.exp(float(np.clip(self.log_scale(t), -0.7, 0.7)))
        return Pose(self.x(t), self.y(t), self.angle(t), scale, opacity)
