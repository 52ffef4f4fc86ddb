"""Where every frame of a video file lies in time, found without decoding, and reading frames by it.

Decoding from the start to reach frame 1000 costs a thousand frames. Seeking costs at most one group of
pictures, but container formats seek by timestamp, and only the timestamps of *all* frames before it say which
number a frame has. A :class:`Timeline` is that list. It is taken from the file's header where the header is
complete, else from the packets, and there is none where a packet need not be one frame or timestamps are
missing or contradictory: such a file is decoded from the start. Reading by seek checks every frame it meets
against the timeline and gives up at the first surprise. So the frames are always those that decoding from the
start would give.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from autogaze.errors import InputError
from autogaze.stages import count

_ONE_PICTURE_PER_PACKET = frozenset(
    {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "prores"}
    | {"vp9", "libvpx-vp9", "av1", "libdav1d", "ffv1"}
)
"""Decoders known to return one frame for every packet. VP8, for one, has packets with hidden frames."""

_SMALLEST_PICTURE = 8
"""Bytes: a shorter packet may be a place holder that decodes to nothing (MPEG-4's "not coded" pictures)."""

_SEEK_BACK_SECONDS = (0, 1, 4, 16)
"""How far before the wanted frame to seek, in turn, where formats without an index land behind it."""


def import_av() -> Any:
    """Return PyAV, or raise :class:`InputError` with the cure where it is not installed."""
    try:
        import av
    except ImportError:
        raise InputError(
            "video files need PyAV, which is not installed here: pip install av, or give a folder of "
            "images or an .npz"
        ) from None
    return av


@dataclass(frozen=True, eq=False)
class Timeline:
    """Presentation timestamps of all frames in the order they are shown, in the stream's time base."""

    pts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pts)

    def index(self, pts: int | None) -> int | None:
        """Return the number of the frame shown at ``pts``; None if there is none."""
        if pts is None:
            return None
        index = int(np.searchsorted(self.pts, pts))
        return index if index < len(self.pts) and self.pts[index] == pts else None


def video_stream(container: Any) -> Any:
    """Return the first stream of moving pictures; cover pictures of audio files do not count."""
    av = import_av()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise InputError(
        f"'{container.name}' has no video stream among its {len(container.streams)}: name a file with "
        "moving pictures"
    )


def find_timeline(container: Any) -> Timeline | None:
    """Return the timeline of an open container's video; None if only decoding can number its frames.

    Its header or its packets are read and one frame is decoded; the container is left at any place.
    """
    stream = video_stream(container)
    if stream.codec_context.name not in _ONE_PICTURE_PER_PACKET:
        return None
    # A stream that was cut may begin with frames that lack their references and are never shown: the timeline
    # begins where decoding does.
    first = next(decode(container, stream), None)
    if first is None or first.pts is None:
        return None
    timeline = _timeline_of_header(stream, first.pts) or _timeline_of_packets(container, stream, first.pts)
    return timeline or None


def _timeline_of_header(stream: Any, first_pts: int) -> Timeline | None:
    """Return the timeline of a constant frame rate, if the header lists all frames and shows that rate."""
    if first_pts != stream.start_time:
        return None
    entries = [entry for entry in getattr(stream, "index_entries", ()) if not entry.is_discard]
    if len(entries) != stream.frames or len(entries) < 2:
        return None
    if min(entry.size for entry in entries) < _SMALLEST_PICTURE:
        return None
    steps = np.diff(np.array([entry.timestamp for entry in entries], np.int64))
    if steps[0] <= 0 or (steps != steps[0]).any():
        return None
    return Timeline(first_pts + steps[0] * np.arange(len(entries), dtype=np.int64))


def _timeline_of_packets(container: Any, stream: Any, first_pts: int) -> Timeline | None:
    """Return the timeline from all packets of the file, whatever the frame rate; nothing is decoded."""
    container.seek(0)
    packets = [
        (packet.pts, packet.dts, packet.size)
        for packet in container.demux(stream)
        if packet.size and not packet.is_discard
    ]
    if not packets or any(pts is None or size < _SMALLEST_PICTURE for pts, _, size in packets):
        return None
    decoding = np.array([dts for _, dts, _ in packets if dts is not None], np.int64)
    pts = np.sort(np.array([pts for pts, _, _ in packets], np.int64))
    # Timestamps that start over (files glued together) or repeat do not say which frame comes first.
    if (np.diff(decoding) <= 0).any() or (np.diff(pts) == 0).any():
        return None
    return Timeline(pts[np.searchsorted(pts, first_pts) :])


def decode(container: Any, stream: Any, pts: int | None = None) -> Iterator[Any]:
    """Seek to the key frame at or before ``pts``, or to the start, and decode from there, counting frames."""
    try:
        if pts is None:
            container.seek(0)
        else:
            container.seek(pts, stream=stream, backward=True)
    except PermissionError:
        raise InputError(
            f"'{container.name}' has format {container.format.name}, in which no frame can be sought: put it "
            "into a container first, as 'ffmpeg -i in -c copy out.mp4' does"
        ) from None
    for frame in container.decode(stream):
        count("decoded_frames")
        yield frame


def read_frames(container: Any, indices: Sequence[int], timeline: Timeline | None) -> npt.NDArray[np.uint8]:
    """Return the frames numbered ``indices``, (n, H, W, 3) uint8 RGB; fewer if the video ends before.

    Args:
        container: an open PyAV container, at any place.
        indices: ascending frame numbers.
        timeline: that of the container, or None to decode from the start.
    """
    stream = video_stream(container)
    pictures = None
    if timeline is not None and indices[0] > 0:
        pictures = _read_by_seek(container, stream, timeline, indices)
    if pictures is None:
        wanted = set(indices)
        frames = islice(enumerate(decode(container, stream)), indices[-1] + 1)
        pictures = [_rgb(frame) for number, frame in frames if number in wanted]
    if not pictures:
        return np.empty((0, stream.height, stream.width, 3), np.uint8)
    if shapes := {picture.shape for picture in pictures} - {pictures[0].shape}:
        raise InputError(
            f"'{container.name}' changes its picture size from {pictures[0].shape[:2]} to {min(shapes)[:2]}: "
            "cut it where it does, or encode it anew at one size"
        )
    return np.stack(pictures)


def _read_by_seek(
    container: Any, stream: Any, timeline: Timeline, indices: Sequence[int]
) -> list[npt.NDArray[np.uint8]] | None:
    """Return the frames that exist among ``indices``; None if what is decoded does not fit the timeline."""
    if indices[0] >= len(timeline):
        return []
    for seconds in _SEEK_BACK_SECONDS:
        target = int(timeline.pts[indices[0]] - seconds / stream.time_base)
        if target <= timeline.pts[0]:
            return None
        frames = decode(container, stream, target)
        # Frames that come before the key frame may refer to others that the seek has skipped.
        key = next((frame for frame in frames if frame.key_frame), None)
        number = None if key is None else timeline.index(key.pts)
        if number is not None and number <= indices[0]:
            return _pictures_from(number, chain([key], frames), timeline, indices)
    return None


def _pictures_from(
    number: int, frames: Iterator[Any], timeline: Timeline, indices: Sequence[int]
) -> list[npt.NDArray[np.uint8]] | None:
    """Return the pictures of ``indices`` among ``frames``, which begin at ``number``; None after a gap."""
    last = min(indices[-1], len(timeline) - 1)
    wanted = set(indices)
    pictures = []
    for expected in range(number, last + 1):
        frame = next(frames, None)
        if frame is None or frame.pts != timeline.pts[expected]:
            return None
        if expected in wanted:
            pictures.append(_rgb(frame))
    return pictures


def _rgb(frame: Any) -> npt.NDArray[np.uint8]:
    picture: npt.NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return picture
