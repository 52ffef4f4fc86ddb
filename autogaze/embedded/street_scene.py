"""The project's own clip: a drive along a street, painted by this program.

``python -m autogaze.embedded.street_scene [OUT]`` writes it, encoded or, for a machine without PyAV, as
``OUT.npz``: 64 frames of 448 x 448 pixels, 25 a second. The
camera travels along a row of shops, with walkers, cars and posts before and behind each other at every depth,
and stands at a red light in frames 40 to 52, when only walkers go on. There is detail at every scale a patch
selector looks at, from small print to the sky. All of it is drawn from one seed with numpy and Pillow.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from autogaze.datasets.synthetic import paint
from autogaze.embedded import clip_path, street_scenery
from autogaze.embedded import street_sprites as sprites
from autogaze.errors import InputError
from autogaze.video.container import import_av
from autogaze.video.preprocessing import Frames

FRAMES, SIZE, FPS = 64, 448, 25
STOP, BRAKING, LEAVING = range(40, 53), 5, 6
"""Frames in which the camera stands still, and how many it takes to get there and to get going again."""

HORIZON, FRONTS = 150, 246
"""Rows of the picture where the ground would meet the sky, and where the houses stand."""

UNIT = 13
"""Pixels a metre at the houses; it grows in proportion to how near the ground is."""

SPEED, STREET, MIDDLE = 0.26, 60, 20
"""The camera's metres a frame; metres of street; where on it the camera starts."""

CLIP_SEED = 7

Look = Callable[[float, float, int], Image.Image]
"""Paints an actor, given pixels a metre, metres travelled and the frame number."""


@dataclass(frozen=True)
class Actor:
    """Something that stands on the ground or moves along the street, painted as heading right."""

    row: float
    """Row of the picture in which it stands; the nearer, the lower."""
    start: float
    """Metres along the street at frame 0, from the middle of the picture."""
    velocity: float
    """Metres a frame, negative to the left."""
    look: Look
    waits: bool = True
    """Whether it stands still when the camera does."""


def travelled() -> npt.NDArray[np.float64]:
    """Return (FRAMES,): frames' worth of travel before each frame; it does not grow during the stop."""
    frames = np.arange(FRAMES)
    slowing = np.clip((STOP.start - frames) / BRAKING, 0, 1)
    speeding = np.clip((frames - STOP.stop + 2) / LEAVING, 0, 1)
    return np.concatenate([[0.0], np.cumsum(slowing + speeding)[:-1]])


def pixels_a_metre(row: float) -> float:
    """Return the scale of what stands on the ground in this row of the picture."""
    return UNIT * (row - HORIZON) / (FRONTS - HORIZON)


class Street:
    """The scenery, painted once, and the actors; :meth:`frame` looks at them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.RandomState(seed)
        self._sky = street_scenery.sky(rng, SIZE)
        self._skyline = street_scenery.skyline(rng, SIZE + 120)
        self._houses = street_scenery.houses(rng, STREET, UNIT)
        self._ground = street_scenery.ground(rng, STREET)
        self._actors = _actors(rng)
        self._travelled = travelled()

    def frame(self, number: int) -> npt.NDArray[np.uint8]:
        """Paint one frame, (SIZE, SIZE, 3), from far to near."""
        camera = SPEED * self._travelled[number]
        picture = Image.fromarray(self._sky)
        _place(picture, self._skyline, -40 - 0.25 * camera * UNIT, FRONTS - self._skyline.height)
        _place(picture, self._houses, SIZE / 2 - (MIDDLE + camera) * UNIT, FRONTS - self._houses.height)
        picture.paste(Image.fromarray(self._view_of_ground(camera)), (0, FRONTS))
        for actor in self._actors:
            self._put(picture, actor, number, camera)
        light = 1 + 0.02 * np.sin(2 * np.pi * self._travelled[number] / 40)
        return np.asarray((np.asarray(picture, np.float32) * light).clip(0, 255), np.uint8)

    def _view_of_ground(self, camera: float) -> npt.NDArray[np.uint8]:
        """Sample the ground in perspective: the nearer the row, the shorter the stretch of street in it."""
        rows = np.arange(FRONTS, SIZE)
        scale = np.array([pixels_a_metre(row) for row in range(FRONTS, SIZE)])[:, None]
        metres = (np.arange(SIZE) - SIZE / 2) / scale + camera + MIDDLE
        columns = metres * (self._ground.shape[1] / STREET) % (self._ground.shape[1] - 1)
        across = ((len(self._ground) - 1) * (rows - FRONTS) // (SIZE - 1 - FRONTS))[:, None]
        left, weight = columns.astype(int), (columns % 1)[..., None]
        view = self._ground[across, left] * (1 - weight) + self._ground[across, left + 1] * weight
        return np.asarray(view.clip(0, 255), np.uint8)

    def _put(self, picture: Image.Image, actor: Actor, number: int, camera: float) -> None:
        scale = pixels_a_metre(actor.row)
        path = actor.velocity * (self._travelled[number] if actor.waits else number)
        part = actor.look(scale, abs(path), number)
        if actor.velocity < 0:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        middle = SIZE / 2 + (actor.start + path - camera) * scale
        _place(picture, part, middle - part.width / 2, actor.row - part.height)


def _place(picture: Image.Image, part: Image.Image, left: float, top: float) -> None:
    """Lay ``part`` over ``picture``; between pixels sideways, so that slow things glide."""
    whole, rest = divmod(left, 1)
    size = part.width + 1, part.height
    shift = (1, 0, -rest, 0, 1, 0)
    part = part.transform(size, Image.Transform.AFFINE, shift, Image.Resampling.BILINEAR)
    picture.paste(part, (int(whole), round(top)), part)


def _car(colour: paint.Colour, plate: str = "") -> Look:
    return lambda scale, path, number: sprites.car(
        scale, colour, path, plate, braking=STOP.start - BRAKING <= number < STOP.stop
    )


def _walker(coat: paint.Colour, trousers: paint.Colour, bag: bool = False) -> Look:
    return lambda scale, path, number: sprites.person(scale, coat, trousers, path, bag)


def _traffic_light(scale: float, path: float, number: int) -> Image.Image:
    amber = range(STOP.start - BRAKING - 1, STOP.start)
    return sprites.traffic_light(scale, "red" if number in STOP else "amber" if number in amber else "green")


def _still(picture: Image.Image, blur: float = 0) -> Look:
    """Return the look of what never changes; what is close to the camera is out of focus."""
    picture = picture.filter(ImageFilter.GaussianBlur(blur)) if blur else picture
    return lambda scale, path, number: picture


def _actors(rng: np.random.RandomState) -> list[Actor]:
    """Return the cast: far pavement to row 264, far lane to 312, near lane to 366, near pavement from 412."""
    way = ("CENTRE", "Museum 400 m", "Station 1.2 km", "Park + Ride")
    parking = ("P", "Mo-Fr 8-18", "max. 2 h", "Zone 16")
    return [
        Actor(254, -9.0, 0.055, _walker((176, 60, 52), (52, 56, 78)), waits=False),
        Actor(256, 4.0, -0.05, _walker((60, 96, 140), (40, 40, 44), bag=True)),
        Actor(258, 13.0, 0.04, _walker((208, 180, 96), (84, 62, 50))),
        Actor(262, -1.5, 0, _still(sprites.tree(rng, pixels_a_metre(262)))),
        Actor(262, 11.5, 0, _still(sprites.tree(rng, pixels_a_metre(262)))),
        Actor(264, 8.2, 0, _traffic_light),
        Actor(284, 6.5, 0, _car((226, 224, 216), "AG 26")),
        Actor(308, 15.0, -0.28, _car((176, 40, 36))),
        Actor(312, 28.0, -0.24, _car((44, 92, 120))),
        Actor(362, -7.0, 0.42, _car((214, 160, 44), "TAXI")),
        Actor(366, -17.0, 0.5, _car((66, 76, 84), "B 512")),
        Actor(412, 2.6, 0, _still(sprites.signpost(pixels_a_metre(412), way))),
        Actor(420, 5.2, -0.045, _walker((96, 64, 116), (46, 48, 60), bag=True)),
        Actor(432, -1.6, 0.075, _walker((52, 110, 84), (66, 58, 54)), waits=False),
        Actor(440, 12.4, -0.065, _walker((188, 84, 52), (38, 52, 84), bag=True), waits=False),
        Actor(452, 6.4, 0, _still(sprites.signpost(pixels_a_metre(452), parking), blur=0.8)),
        Actor(460, 13.6, 0, _still(sprites.lamp_post(pixels_a_metre(460)), blur=0.8)),
    ]


def paint_clip(seed: int = CLIP_SEED) -> Frames:
    """Return the clip before it is encoded: (FRAMES, SIZE, SIZE, 3) uint8."""
    street = Street(seed)
    return np.stack([street.frame(number) for number in range(FRAMES)])


def write_clip(path: Path, frames: Frames) -> None:
    """Encode ``frames`` as H.264 where PyAV can and MPEG-4 where not; equal frames give an equal file.

    Raises:
        InputError: if the file cannot be written.
    """
    av = import_av()
    if "libx264" in av.codecs_available:
        codec, options = "libx264", {"crf": "23", "preset": "slower", "threads": "1"}
    else:
        codec, options = "mpeg4", {"qscale": "6", "threads": "1"}
    try:
        with av.open(str(path), "w", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
            stream = container.add_stream(codec, rate=FPS, options=options)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
            stream.codec_context.gop_size = 16
            for number, frame in enumerate(frames):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                picture.pts, picture.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except OSError as error:
        raise InputError(
            f"clip '{path}' cannot be written ({error.strerror}): name a file in a writable folder"
        ) from None


def main() -> None:
    """Write the clip to the path given, or to its place in the package; a ``.npz`` holds the frames as
    painted."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else clip_path()
    if path.suffix == ".npz":
        np.savez_compressed(path, frames=paint_clip())
    else:
        write_clip(path, paint_clip())
    print(f"{path}: {FRAMES} frames, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
