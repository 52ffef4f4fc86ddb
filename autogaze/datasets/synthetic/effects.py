"""Camera effects on a painted clip: light, lens, sensor and codec."""

import io
import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageChops
from scipy.special import ndtri

from autogaze.datasets.synthetic.motion import SIDE, Wave
from autogaze.datasets.synthetic.textures import Rng

_MARGIN = 64
"""Pixels by which grain and shadows are larger than the picture, to be shifted under it."""


@dataclass(frozen=True)
class Look:
    """The effects of one clip, in the order in which a camera adds them."""

    gain: Wave
    gamma: Wave
    shadow: Image.Image | None
    """(SIDE + 2 margins) RGB that darkens what lies under it."""
    drift: tuple[Wave, Wave]
    vignette: Image.Image | None
    grain: Image.Image | None
    """(SIDE + margin) RGB about grey, shifted at random for every frame."""
    quality: int | None
    """Of the JPEG round trip; None for none."""
    seed: int
    """Of the grain's shifts."""

    @classmethod
    def draw(cls, rng: Rng) -> "Look":
        """Draw effects; most clips have few of them, and weak ones."""
        ramps, flickers, shaded, vignetted, grained, coded = rng.rand(6) < (0.2, 0.08, 0.14, 0.2, 0.45, 0.4)
        gain = Wave(1, ramps * rng.normal(0, 0.02), flickers * rng.uniform(0.02, 0.12), rng.uniform(2.5, 12))
        gamma = Wave(rng.uniform(0.85, 1.2), ramps * rng.normal(0, 0.012))
        return cls(
            gain,
            gamma,
            _shadow(rng) if shaded else None,
            (Wave(0, rng.normal(0, 2.5)), Wave(0, rng.normal(0, 1.0))),
            _vignette(round(rng.uniform(0.2, 0.7), 1)) if vignetted else None,
            _grain(rng, min(9.0, rng.lognormal(math.log(2.0), 0.6))) if grained else None,
            int(rng.randint(18, 88)) if coded else None,
            int(rng.randint(2**31)),
        )

    def __call__(self, picture: Image.Image, frame: int) -> Image.Image:
        """Return the picture of frame number ``frame`` as it is recorded."""
        if self.shadow is not None:
            left, top = (round(float(np.clip(_MARGIN + w(frame), 0, 2 * _MARGIN))) for w in self.drift)
            shadow = self.shadow.crop((left, top, left + SIDE, top + SIDE))
            picture = ImageChops.multiply(picture, shadow)
        if self.vignette is not None:
            picture = ImageChops.multiply(picture, self.vignette)
        picture = _exposed(
            picture, float(np.clip(self.gain(frame), 0.4, 1.7)), float(np.clip(self.gamma(frame), 0.6, 1.7))
        )
        if self.grain is not None:
            left, top = Rng([self.seed, frame]).randint(0, _MARGIN, 2)
            grain = self.grain.crop((int(left), int(top), int(left) + SIDE, int(top) + SIDE))
            picture = ImageChops.add(picture, grain, 1, -128)
        return picture if self.quality is None else compressed(picture, self.quality)


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    """Return the picture after a JPEG round trip."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        decoded.load()
        return decoded


def _exposed(picture: Image.Image, gain: float, gamma: float) -> Image.Image:
    return picture.point(_exposure(gain, gamma))


@lru_cache(maxsize=32)
def _exposure(gain: float, gamma: float) -> list[int]:
    """Return what becomes of the levels of red, green and blue."""
    levels = np.clip(gain * (np.arange(256) / 255) ** gamma, 0, 1) * 255
    return [round(float(level)) for level in levels] * 3


def _shadow(rng: Rng) -> Image.Image:
    """Soft dark shapes, as of leaves, a passer-by or a cloud."""
    cells = int(rng.randint(3, 9))
    dark, hardness = rng.uniform(0.35, 0.8), rng.uniform(1, 6)
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    side = SIDE + 2 * _MARGIN
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    light = dark + (1 - dark) / (1 + np.exp(-hardness * smooth))
    return Image.fromarray((255 * light).astype(np.uint8)).convert("RGB")


@cache
def _vignette(strength: float) -> Image.Image:
    """A fall of light towards the corners, where it loses ``strength`` of itself."""
    places = np.linspace(-1, 1, SIDE)
    radius = (places[:, None] ** 2 + places[None, :] ** 2) / 2
    return Image.fromarray((255 * (1 - strength * radius**1.5)).astype(np.uint8)).convert("RGB")


def _grain(rng: Rng, deviation: float) -> Image.Image:
    """Sensor noise of ``deviation`` grey levels about grey."""
    quantiles = np.round(128 + deviation * ndtri((np.arange(256) + 0.5) / 256)).clip(0, 255)
    side = SIDE + _MARGIN
    drawn = np.frombuffer(rng.bytes(side * side * 3), np.uint8).reshape(side, side, 3)
    return Image.fromarray(np.take(quantiles.astype(np.uint8), drawn))
