"""Reading frames of a video by number: what decoding from the start gives, for the price of a seek.

Where there is a timeline, a read checks every frame it meets against it and gives up at the first surprise or
the first sign of damage. Then, and where there is none, frames are read as the definition says: decoded from
the start of a file opened anew, as PyAV does by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from autogaze.errors import InputError
from autogaze.stages import count
from autogaze.video.container import Decoding, Reopen, decode, demuxed, import_av, video_stream
from autogaze.video.orientation import orientation_of
from autogaze.video.preprocessing import Frames
from autogaze.video.timeline import Timeline

_SEEK_BACK_SECONDS = (0, 1, 4, 16)
"""How far before the key frame to seek, in turn, where formats without an index land behind it."""

_TELLS_FIRST_PACKET_ONLY = frozenset({"mpeg4"})
"""Codecs whose decoders learn from the first packet what they need for all others: who encoded it."""


class _Surprise(Exception):  # noqa: N818 - an answer, no error
    """What is decoded does not fit the timeline."""


def read_frames(
    reopen: Reopen, numbers: Sequence[int], timeline: Timeline | None, turned: bool = True
) -> Frames:
    """Return the frames with the given numbers, (n, H, W, 3) uint8 RGB; fewer if the video ends before.

    Args:
        reopen: opens the video at its start.
        numbers: ascending frame numbers, none twice.
        timeline: that of the video, or None to decode from the start.
        turned: whether frames come as they are to be shown, or as they are stored.

    Raises:
        InputError: for pictures of more than one size among them.
        av.FFmpegError: for what cannot be decoded.
    """
    try:
        pictures = None if timeline is None else _read_checked(reopen, numbers, timeline, turned)
    except (_Surprise, import_av().FFmpegError):
        pictures = None
    if pictures is None:
        with reopen(Decoding.DEFINED) as container:
            frames = decode(container, video_stream(container))
            pictures = list(_pictures(frames, 0, numbers, None, turned))
    if not pictures:
        with reopen(Decoding.DEFINED) as container:
            stream = video_stream(container)
            return np.empty((0, stream.height, stream.width, 3), np.uint8)
    if shapes := {picture.shape for picture in pictures} - {pictures[0].shape}:
        with reopen(Decoding.DEFINED) as container:
            raise InputError(
                f"'{container.name}' changes its picture size from {pictures[0].shape[:2]} to "
                f"{min(shapes)[:2]}: cut it where it does, or encode it anew at one size"
            )
    return np.stack(pictures)


def count_frames(reopen: Reopen) -> int:
    """Return the number of frames by decoding them all."""
    with reopen(Decoding.DEFINED) as container:
        return sum(1 for _ in decode(container, video_stream(container)))


def _read_checked(
    reopen: Reopen, numbers: Sequence[int], timeline: Timeline, turned: bool
) -> list[npt.NDArray[np.uint8]]:
    """Return the frames that exist among ``numbers``, or raise where anything is not as expected."""
    numbers = [number for number in numbers if number < len(timeline)]
    if not numbers:
        return []
    key = timeline.key_before(numbers[0])
    # H.264 that is decoded from an open group has to hide that some of its pictures lack their references.
    is_open = bool(timeline.open_keys[timeline.keys == key].any())
    with reopen(Decoding.FAST if key and is_open else Decoding.STRICT) as container:
        stream = video_stream(container)
        if key:
            begin, frames = _sought(container, stream, timeline, key)
        else:
            begin, frames = 0, decode(container, stream)
        return list(_pictures(frames, begin, numbers, timeline, turned))


def _sought(container: Any, stream: Any, timeline: Timeline, key: int) -> tuple[int, Iterator[Any]]:
    """Return frames from ``key`` on, or from a key frame before it, and the number of the first."""
    if stream.codec_context.name in _TELLS_FIRST_PACKET_ONLY:
        next(decode(container, stream), None)
    for seconds in _SEEK_BACK_SECONDS:
        target = int(timeline.pts[key] - seconds / stream.time_base)
        if target < timeline.pts[0]:
            break
        container.seek(target, stream=stream, backward=True)
        packets = demuxed(container, stream)
        first = next((packet for packet in packets if packet.is_keyframe), None)
        number = None if first is None else timeline.key_of(first.pts, first.size)
        if number is not None and number <= key:
            return number, _frames_from(timeline.pts[number], chain([first], packets))
    raise _Surprise


def _frames_from(pts: int, packets: Iterable[Any]) -> Iterator[Any]:
    """Decode packets; frames shown before ``pts`` may refer to others that a seek has skipped."""
    for packet in packets:
        for frame in packet.decode():
            count("decoded_frames")
            if frame.pts is None or frame.pts >= pts:
                yield frame


def _pictures(
    frames: Iterator[Any], begin: int, numbers: Sequence[int], timeline: Timeline | None, turned: bool
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the pictures of ``numbers`` among ``frames``, which begin at ``begin``, while there are any."""
    wanted = set(numbers)
    for number in range(begin, numbers[-1] + 1):
        frame = next(frames, None)
        if timeline is not None and (frame is None or frame.is_corrupt or frame.pts != timeline.pts[number]):
            raise _Surprise
        if frame is None:
            return
        if number in wanted:
            yield picture_of(frame, turned)


def picture_of(frame: Any, turned: bool = True) -> npt.NDArray[np.uint8]:
    """Return a decoded frame as (H, W, 3) uint8 RGB, ``turned`` as it is to be shown or as it is stored."""
    picture: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return orientation_of(frame).turn(picture) if turned else picture
