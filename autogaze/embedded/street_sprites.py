"""Sprites of the street scene: cars, people, posts and trees."""

import math

import numpy as np
from PIL import Image

from autogaze.datasets.synthetic.paint import SHADOW, Brush, Colour, Point, shade, sprite

SKIN, LEATHER, POLE = (206, 158, 128), (34, 28, 26), (74, 78, 82)
LAMPS = {"red": (255, 48, 36), "amber": (255, 190, 40), "green": (70, 240, 130)}

_BODY = [
    (0.1, 0.75),
    (0.5, 0.66),
    (1.0, 0.18),
    (1.5, 0.08),
    (2.7, 0.1),
    (3.3, 0.62),
    (4.2, 0.78),
    (4.34, 1.1),
]
_SILL = [(0.04, 1.08), (4.34, 1.1), (4.3, 1.38), (0.12, 1.38)]
_PANES = (
    [(0.72, 0.64), (1.1, 0.22), (1.75, 0.18), (1.75, 0.64)],
    [(1.87, 0.64), (1.87, 0.18), (2.62, 0.2), (3.08, 0.64)],
)


def car(scale: float, colour: Colour, rolled: float, plate: str, braking: bool) -> Image.Image:
    """Return a car heading right, 4.4 x 1.7 metres, whose wheels have rolled ``rolled`` metres."""

    def paint(brush: Brush) -> None:
        brush.oval(0.05, 1.5, 4.35, 1.7, SHADOW)
        brush.polygon([*_BODY, *_SILL[1:], _SILL[0]], colour)
        brush.polygon(_SILL, shade(colour, 0.62))
        brush.line((0.12, 0.84), (4.2, 0.86), shade(colour, 1.5), 0.05)
        for pane in _PANES:
            brush.polygon(pane, (44, 56, 68))
            brush.line((pane[0][0] + 0.3, 0.64), (pane[0][0] + 0.62, 0.24), (126, 146, 160), 0.09)
        brush.oval(2.2, 0.34, 2.48, 0.66, (30, 30, 36))
        brush.line((1.81, 0.68), (1.81, 1.34), shade(colour, 0.5), 0.03)
        brush.box(1.95, 0.78, 2.15, 0.83, shade(colour, 0.4))
        brush.box(4.12, 0.82, 4.3, 0.98, (255, 246, 206))
        brush.box(0.06, 0.8, 0.2, 1.0, (255, 40, 30) if braking else (138, 24, 24))
        brush.box(0.16, 1.06, 0.86, 1.28, (240, 240, 232))
        brush.text(0.51, 1.17, plate, (20, 20, 40), 0.2)
        for axle in (0.95, 3.45):
            _wheel(brush, axle, 1.36, 0.33, rolled / 0.33)

    return sprite(4.4, 1.7, scale, paint)


def _wheel(brush: Brush, x: float, y: float, radius: float, angle: float) -> None:
    rim = 0.66 * radius
    brush.oval(x - radius, y - radius, x + radius, y + radius, (22, 22, 24))
    brush.oval(x - rim, y - rim, x + rim, y + rim, (176, 180, 186))
    for spoke in range(5):
        turn = angle + spoke * math.tau / 5
        brush.line((x, y), (x + rim * math.cos(turn), y + rim * math.sin(turn)), (60, 62, 68), 0.16 * radius)


def person(scale: float, coat: Colour, trousers: Colour, walked: float, bag: bool) -> Image.Image:
    """Return a walker heading right, 1 x 1.85 metres; legs and arms swing with the metres ``walked``."""
    swing = math.sin(walked * math.tau / 1.5)

    def paint(brush: Brush) -> None:
        brush.oval(0.2, 1.76, 0.85, 1.85, SHADOW)
        _arm(brush, -swing, shade(coat, 0.7))
        _leg(brush, -swing, shade(trousers, 0.7))
        _leg(brush, swing, trousers)
        brush.box(0.33, 0.36, 0.67, 1.05, coat, corner=0.13)
        brush.line((0.5, 0.42), (0.5, 1.0), shade(coat, 0.6), 0.03)
        x, y = _arm(brush, swing, shade(coat, 1.2))
        if bag:
            brush.box(x - 0.16, y, x + 0.16, y + 0.36, (214, 170, 60))
            brush.line((x - 0.1, y + 0.12), (x + 0.1, y + 0.12), (120, 60, 30), 0.04)
        brush.oval(0.36, 0.03, 0.62, 0.3, shade((92, 62, 40), 0.4 + coat[0] / 300))
        brush.oval(0.44, 0.09, 0.65, 0.35, SKIN)

    return sprite(1.0, 1.85, scale, paint)


def _arm(brush: Brush, swing: float, sleeve: Colour) -> Point:
    elbow = _limb(brush, (0.5, 0.48), 0.5 * swing, 0.3, sleeve, 0.13)
    hand = _limb(brush, elbow, 0.35 + 0.5 * swing, 0.26, sleeve, 0.11)
    brush.oval(hand[0] - 0.05, hand[1] - 0.03, hand[0] + 0.05, hand[1] + 0.07, SKIN)
    return hand


def _leg(brush: Brush, swing: float, cloth: Colour) -> None:
    knee = _limb(brush, (0.5, 0.92), 0.5 * swing, 0.44, cloth, 0.19)
    x, y = _limb(brush, knee, 0.3 * swing - 0.25, 0.4, cloth, 0.15)
    brush.oval(x - 0.06, y - 0.03, x + 0.2, y + 0.08, LEATHER)


def _limb(brush: Brush, start: Point, angle: float, length: float, colour: Colour, width: float) -> Point:
    """Draw a limb that hangs from ``start`` at ``angle`` radians from the vertical; return its end."""
    x, y = start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)
    brush.line(start, (x, y), colour, width)
    brush.oval(x - width / 2, y - width / 2, x + width / 2, y + width / 2, colour)
    return x, y


def signpost(scale: float, lines: tuple[str, ...]) -> Image.Image:
    """Return a board of small print on a pole, 1.5 x 3 metres."""

    def paint(brush: Brush) -> None:
        brush.box(0.7, 1.1, 0.8, 3, POLE)
        brush.box(0, 0, 1.5, 1.3, (240, 240, 240), corner=0.08)
        brush.box(0.04, 0.04, 1.46, 1.26, (24, 74, 140), corner=0.06)
        for row, text in enumerate(lines):
            brush.text(0.75, 0.24 + 0.28 * row, text, (246, 246, 246), 0.2 if row else 0.3)

    return sprite(1.5, 3.0, scale, paint)


def lamp_post(scale: float) -> Image.Image:
    """Return a lamp post with notices stuck to it, 0.6 x 12 metres."""

    def paint(brush: Brush) -> None:
        brush.polygon([(0.24, 0), (0.36, 0), (0.42, 12), (0.18, 12)], (50, 58, 56))
        brush.line((0.28, 0), (0.25, 12), (104, 114, 110), 0.03)
        for top, paper in ((9.6, (236, 226, 190)), (10.1, (214, 92, 76)), (10.5, (206, 222, 226))):
            brush.box(0.16, top, 0.44, top + 0.34, paper)
            for row in range(1, 5):
                y = top + 0.07 * row
                brush.line((0.19, y), (0.41 - 0.04 * (row % 2), y), (60, 60, 66), 0.02)

    return sprite(0.6, 12.0, scale, paint)


def traffic_light(scale: float, colour: str) -> Image.Image:
    """Return a traffic light on its pole, 0.5 x 3.6 metres, showing ``red``, ``amber`` or ``green``."""

    def paint(brush: Brush) -> None:
        brush.box(0.2, 1.0, 0.3, 3.6, POLE)
        brush.box(0.06, 0, 0.44, 1.1, (26, 28, 30), corner=0.08)
        for row, (name, lamp) in enumerate(LAMPS.items()):
            top = 0.06 + 0.34 * row
            brush.oval(0.11, top, 0.39, top + 0.28, lamp if name == colour else shade(lamp, 0.25))

    return sprite(0.5, 3.6, scale, paint)


def tree(rng: np.random.RandomState, scale: float) -> Image.Image:
    """Return a street tree, 4 x 6 metres: a trunk, and leaves in many greens with gaps between them."""
    leaves = [
        (rng.normal(2, 0.75), rng.normal(1.9, 0.72), rng.uniform(0.08, 0.2), rng.uniform(0.45, 1.3))
        for _ in range(900)
    ]

    def paint(brush: Brush) -> None:
        brush.polygon([(1.85, 6), (1.93, 2.2), (2.07, 2.2), (2.17, 6)], (78, 60, 46))
        for x, y, radius, light in leaves:
            brush.oval(x - radius, y - radius, x + radius, y + 0.8 * radius, shade((70, 104, 48), light))

    return sprite(4.0, 6.0, scale, paint)
