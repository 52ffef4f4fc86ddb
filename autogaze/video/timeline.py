"""Timelines: when every frame of a video is shown, found without decoding.

Decoding from the start to reach frame 1000 costs a thousand frames. Seeking costs at most one group of
pictures, but container formats seek by timestamp, and only the timestamps of *all* frames before it say which
number a frame has. A :class:`Timeline` is that list. It is made only where the packets' own headers prove
which of them show a frame (:mod:`autogaze.video.bitstreams`) and their timestamps agree with the order of
display in the headers; other videos are decoded from the start.
"""

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autogaze.video.bitstreams import NotNumbered, Packets, Pictures, Scan, joined, scan_of
from autogaze.video.container import Decoding, Reopen, demuxed, video_stream

_BATCH_BYTES = 1 << 24
"""Of packets that are looked at together."""


_SMALL_BYTES = 1 << 21
"""A file up to this size is read faster than mapped."""

_TIMED = frozenset({"mov", "matroska", "mpegts", "flv", "avi", "nut", "ivf"})
"""Formats in which each frame has a timestamp, behind a seek too. Where frames lie across packets of a fixed
size (MPEG-PS) or are timed by their place (MXF), FFmpeg may give a frame the timestamp of its neighbour."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Presentation timestamps of all frames in the order they are shown, in the stream's time base."""

    pts: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]
    """Numbers of the frames at which decoding may begin, ascending; frames from there on come out right."""
    key_sizes: npt.NDArray[np.int64]
    """Bytes of the packet of each of these frames, to know it by."""
    open_keys: npt.NDArray[np.bool_]
    """Which of them are followed in the file by pictures that are shown before them."""

    def __len__(self) -> int:
        return len(self.pts)

    def index(self, pts: int | None) -> int | None:
        """Return the number of the frame shown at ``pts``; None if there is none."""
        if pts is None:
            return None
        index = int(np.searchsorted(self.pts, pts))
        return index if index < len(self.pts) and self.pts[index] == pts else None

    def key_before(self, number: int) -> int:
        """Return the last frame up to ``number`` at which decoding may begin."""
        return int(self.keys[max(0, int(np.searchsorted(self.keys, number, side="right")) - 1)])

    def key_of(self, pts: int | None, size: int) -> int | None:
        """Return the number of the key frame whose packet has this timestamp and size; None if none has."""
        number = self.index(pts)
        places = np.flatnonzero((self.keys == number) & (self.key_sizes == size))
        return None if number is None or not len(places) else number


@dataclass(frozen=True, eq=False)
class Index:
    """What a container's header lists of its packets, a column for each field; often nothing."""

    timestamps: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    """Offset of each packet in the file, in bytes."""
    sizes: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bool_]
    discarded: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def end(self) -> int:
        """Offset in bytes behind the last packet; 0 without packets."""
        return int((self.positions + self.sizes).max(initial=0))


_IS_KEY, _IS_DISCARDED = 1, 2
"""Bits of an index entry's flags (AVINDEX_KEYFRAME, AVINDEX_DISCARD_FRAME)."""


def read_index(stream: Any) -> Index:
    """Return the index of a PyAV stream."""
    entries = list(stream.index_entries)
    timestamps = np.array([entry.timestamp for entry in entries], np.int64)
    positions = np.array([entry.pos for entry in entries], np.int64)
    sizes = np.array([entry.size for entry in entries], np.int64)
    flags = np.array([entry.flags for entry in entries], np.int64)
    return Index(timestamps, positions, sizes, flags & _IS_KEY != 0, flags & _IS_DISCARDED != 0)


def find_timeline(container: Any, index: Index, first_pts: int | None, reopen: Reopen) -> Timeline:
    """Return the timeline of a video whose first frame, decoded from the start, is shown at ``first_pts``.

    Args:
        container: the open video; its header is read.
        reopen: opens it anew, to read its packets where the header does not list them.

    Raises:
        NotNumbered: where only decoding can number its frames.
    """
    stream = video_stream(container)
    if not _TIMED.intersection(container.format.name.split(",")):
        raise NotNumbered(f"frames of the format {container.format.name} have no timestamps of their own")
    scan = scan_of(stream.codec_context)
    if first_pts is None:
        raise NotNumbered("its frames have no timestamps")
    found = _timeline_of_header(container, stream, index, first_pts, scan)
    return found or _timeline_of_packets(reopen, first_pts, scan_of(stream.codec_context))


def _timeline_of_header(
    container: Any, stream: Any, index: Index, first_pts: int, scan: Scan
) -> Timeline | None:
    """Return the timeline of a constant frame rate, if the header lists all frames and shows that rate."""
    if "mp4" not in container.format.name or not os.path.isfile(container.name):
        return None
    if (
        len(index) != stream.frames
        or len(index) < 2
        or index.discarded.any()
        or first_pts != stream.start_time
    ):
        return None
    steps = np.diff(index.timestamps)
    if steps[0] <= 0 or (steps != steps[0]).any():
        return None
    scan.add(_mapped_packets(container.name, index))
    pictures = scan.pictures()
    if (pictures.order < 0).any():
        return None
    pts = first_pts + steps[0] * np.arange(len(index), dtype=np.int64)
    return Timeline(pts, *_keys(pictures, np.ones(len(index), bool), index.sizes))


def _mapped_packets(path: str, index: Index) -> Packets:
    """Return the packets of a file; of a large one, only what is looked at is read from the disk."""
    if (index.sizes <= 0).any() or (index.positions < 0).any():
        raise NotNumbered("its index lists packets without bytes")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        is_large = size > _SMALL_BYTES
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if is_large else file.read()
    if index.end > len(content):
        raise NotNumbered("its index lists packets that are not there")
    return Packets(np.frombuffer(content, np.uint8), index.positions, index.sizes, index.keys)


def _timeline_of_packets(reopen: Reopen, first_pts: int, scan: Scan) -> Timeline:
    """Return the timeline from all packets of the file, whatever the frame rate; nothing is decoded."""
    times: list[_Times] = []
    sizes: list[int] = []
    with reopen(Decoding.DEFINED) as container:
        stream = video_stream(container)
        contents: list[bytes] = []
        keys: list[bool] = []
        held = 0
        for packet in demuxed(container, stream):
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue  # the demuxer's last word, to flush a decoder
            if packet.is_corrupt or packet.size == 0:
                raise NotNumbered("a packet in it is damaged")
            if packet.has_sidedata("new_extradata"):
                raise NotNumbered("its decoder configuration changes")
            times.append((packet.pts, packet.dts, not packet.is_discard))
            sizes.append(packet.size)
            contents.append(bytes(packet))
            keys.append(packet.is_keyframe)
            held += packet.size
            if held > _BATCH_BYTES:
                scan.add(joined(contents, keys))
                contents, keys, held = [], [], 0
        if contents:
            scan.add(joined(contents, keys))
    return _timeline_of_times(times, np.array(sizes, np.int64), scan.pictures(), first_pts)


_Times = tuple[int | None, int | None, bool]
"""When a packet is shown, when it is decoded, and whether it is to be shown at all."""


def _timeline_of_times(
    times: Sequence[_Times], sizes: npt.NDArray[np.int64], pictures: Pictures, first_pts: int
) -> Timeline:
    decoding = np.array([dts for _, dts, _ in times if dts is not None], np.int64)
    kept = np.array([is_kept for _, _, is_kept in times], bool) & (pictures.order >= 0)
    if any(pts is None for (pts, _, _), shown in zip(times, kept.tolist(), strict=True) if shown):
        raise NotNumbered("not all of its frames have timestamps")
    pts = np.array([time[0] or 0 for time in times], np.int64)
    in_order = np.argsort(pictures.order[kept])
    pts = pts[kept][in_order]
    # Timestamps that start over (files glued together) or repeat do not say which frame comes first.
    if (np.diff(decoding) <= 0).any() or (np.diff(pts) <= 0).any():
        raise NotNumbered("its timestamps do not follow the order of its pictures")
    if not len(pts) or pts[0] != first_pts:
        raise NotNumbered("its first frame is not shown when its packets say")
    return Timeline(pts, *_keys(pictures, kept, sizes))


def _keys(
    pictures: Pictures, kept: npt.NDArray[np.bool_], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the numbers, among the frames ``kept``, where decoding may begin, the sizes of their packets,
    and which of them are followed by pictures that are shown before them."""
    number = np.full(len(kept), -1, np.int64)
    places = np.flatnonzero(kept)
    number[places[np.argsort(pictures.order[places])]] = np.arange(len(places))
    is_key = kept & (pictures.key | (number == 0))
    keys, at = np.unique(number[is_key], return_index=True)
    shown = np.where(pictures.order < 0, len(kept), pictures.order)
    follows = np.append(np.minimum.accumulate(shown[::-1])[::-1][1:], len(kept)) < shown
    return keys, sizes[is_key][at], follows[is_key][at]
