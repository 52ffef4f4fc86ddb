"""Pictures of a video's packets: which packet shows one, in what order, and where decoding may begin.

A codec's rules say how many frames a packet decodes to. Where the bits prove that each gives one or none, the
frames can be numbered without decoding them; where they do not, :class:`NotNumbered` is raised and whoever
asks decodes from the start.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class NotNumbered(Exception):  # noqa: N818 - no fault of the file's
    """Only decoding from the start can number the frames of this video; the text is the reason, a clause."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the packets of a video decode to, one entry for each packet in the order of the file."""

    order: npt.NDArray[np.int64]
    """Number of the frame that a packet shows; -1 where it shows none."""
    key: npt.NDArray[np.bool_]
    """Whether decoding may begin here: all frames from this one on come out as they do from the start."""


@dataclass(frozen=True)
class Head:
    """What the first bytes of a packet say of its picture, for codecs that are told packet by packet."""

    shown: bool = True
    key: bool = False
    bidirectional: bool = False
    """Whether the picture is shown before the reference picture that precedes it in the file."""


HeadOf = Callable[[bytes, bool], Head]
"""From a packet, and whether the container calls it a key frame, to what it shows."""

DAMAGED = "a packet in it is damaged"
SEVERAL = "a packet in it holds more than one picture"
"""Reasons that several codecs have."""


def ordered(heads: list[Head]) -> Pictures:
    """Number pictures whose references are the two before them at most.

    A bidirectional picture is shown at once; any other when the next of its kind comes, or the end.
    """
    if not heads or not heads[0].key:
        raise NotNumbered("it begins in the middle of a group of pictures")
    order = np.full(len(heads), -1, np.int64)
    shown, references, waiting = 0, 0, None
    for packet, head in enumerate(heads):
        if not head.shown:
            continue
        if head.bidirectional:
            if references < 2:
                raise NotNumbered("it begins with pictures whose references are missing")
            order[packet], shown = shown, shown + 1
            continue
        references += 1
        if waiting is not None:
            order[waiting], shown = shown, shown + 1
        waiting = packet
    if waiting is not None:
        order[waiting] = shown
    return Pictures(order, np.array([head.key for head in heads], bool))


def ranked(keys: npt.NDArray[np.int64], shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the place of each shown picture when they are sorted by ``keys``, -1 for the others."""
    order = np.full(len(keys), -1, np.int64)
    places = np.flatnonzero(shown)
    order[places[np.argsort(keys[places], kind="stable")]] = np.arange(len(places))
    if (np.diff(np.sort(keys[places])) == 0).any():
        raise NotNumbered("two of its pictures claim the same place in the order of display")
    return order


_FARTHEST = 32
"""Places by which a picture may be reordered; no codec holds as many pictures back."""


def reordering(order: npt.NDArray[np.int64]) -> int:
    """Return how many pictures at most precede one in the file and follow it on the screen."""
    order = order[order >= 0]
    if len(order) and np.abs(order - np.arange(len(order))).max() > _FARTHEST:
        raise NotNumbered("its pictures are reordered farther than any decoder holds them back")
    later = np.zeros(len(order), np.int64)
    for distance in range(1, min(2 * _FARTHEST, len(order) - 1) + 1):
        if not (overtaken := order[:-distance] > order[distance:]).any():
            break
        later[distance:] += overtaken
    return int(later.max(initial=0))
