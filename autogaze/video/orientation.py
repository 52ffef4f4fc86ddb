"""Orientation of pictures: which way up they are shown, by the display matrix that comes with a frame.

Phones store every film as the sensor lies and say how it was held.
"""

import struct
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from autogaze.errors import InputError

_T = TypeVar("_T", bound=np.generic)

_OBLIQUE = 0.02
"""Sine of the largest angle, of about a degree, that is taken for none."""


@dataclass(frozen=True)
class Orientation:
    """A quarter turn, mirrored or not: transposed first, then flipped."""

    is_transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    def turn(self, picture: npt.NDArray[_T]) -> npt.NDArray[_T]:
        """Return a view of a picture (rows, columns, ...) as it is to be shown."""
        if self.is_transposed:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]

    def turned_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a picture as it is to be shown."""
        return (width, height) if self.is_transposed else (height, width)


AS_STORED = Orientation()


def orientation_of(frame: Any) -> Orientation:
    """Return how a decoded frame is to be shown.

    Raises:
        InputError: for a display matrix that is no quarter turn, mirrored or not.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    return AS_STORED if data is None else parse_display_matrix(bytes(data))


def parse_display_matrix(data: bytes) -> Orientation:
    """Read a display matrix, nine int32 of which (a, b) is where the picture's rows point and (c, d) its
    columns (libavutil/display.h; ISO/IEC 14496-12, 6.2.2). One that is not invertible says nothing.

    Raises:
        InputError: for one that is no quarter turn, mirrored or not.
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
    straight, crossed = a * d, b * c
    if straight == crossed:
        return AS_STORED
    if abs(crossed) <= _OBLIQUE**2 * abs(straight):
        return Orientation(False, flips_rows=d < 0, flips_columns=a < 0)
    if abs(straight) <= _OBLIQUE**2 * abs(crossed):
        return Orientation(True, flips_rows=b < 0, flips_columns=c < 0)
    degrees = np.degrees(np.arctan2(b, a))
    raise InputError(
        f"the video is to be shown turned by {degrees:.0f} degrees: quarter turns, mirrored or not, can be "
        "followed; encode it anew as it is to be seen"
    )
