"""Video files, and opening any source of frames by its path."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autogaze.errors import InputError
from autogaze.video.bitstreams import NotNumbered
from autogaze.video.container import Decoding, Reopen, decode, import_av, reopen_file, video_stream
from autogaze.video.frame_source import (
    ARRAY_SUFFIXES,
    ArrayFile,
    Clip,
    FrameSource,
    ImageFolder,
    clip_of,
    frames_available,
)
from autogaze.video.orientation import orientation_of
from autogaze.video.preprocessing import Frames
from autogaze.video.reading import count_frames, read_frames
from autogaze.video.timeline import Index, Timeline, find_timeline, read_index


def open_source(path: str | os.PathLike[str]) -> FrameSource:
    """Open a video file, a folder of pictures, or a ``.npy``/``.npz`` of frames.

    Raises:
        InputError: if there is nothing at ``path``, or nothing with frames.
    """
    path = Path(path)
    if path.is_dir():
        return ImageFolder.open(path)
    if path.suffix.lower() in ARRAY_SUFFIXES and path.exists():
        return ArrayFile.open(path)
    return VideoFile.open(path)


_TIMED_BY_HEADER = frozenset({"matroska", "flv"})
"""Formats whose duration FFmpeg reads from the header; that of others it may have measured."""


@dataclass(frozen=True, eq=False)
class VideoFile:
    """An encoded video, its frames as they are to be shown.

    A frame is the one that decoding from the start would give under its number. Every read opens the file
    anew; it costs a seek where the packets prove which frame is which, and a decode from the start elsewhere,
    which :attr:`remarks` then says.
    """

    path: Path
    frames: int
    """From the header or the packets; counted by decoding where neither proves it."""
    height: int
    width: int
    fps: float | None
    timeline: Timeline | None = field(repr=False)
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "VideoFile":
        """Check that the file can be used and find out what it holds.

        A file that was cut short is refused where its header lists its packets. Others end where they were
        cut, and :attr:`remarks` says that they may have.

        Raises:
            InputError: for a file that is missing, empty, no video, or without a picture in it; for one that
                was cut short, if its header tells.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(
                f"video '{path}' does not exist: name a video file, a folder of pictures, or a .npz of frames"
            )
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"video '{path}' is empty (0 bytes): copy or record it again")
        reopen = reopen_file(path)
        with _refusing(path), reopen(Decoding.DEFINED) as container:
            stream = video_stream(container)
            index = read_index(stream)
            if index.end > size:
                raise InputError(
                    f"video '{path}' is truncated: its header promises {index.end} bytes and {size} are "
                    "there; copy or record it again"
                )
            first = next(decode(container, stream), None)
            if first is None:
                raise InputError(f"video '{path}' has no frames: name one with at least one")
            timeline, remarks = _timeline_or_remark(container, index, first.pts, reopen)
            frames = len(timeline) if timeline else count_frames(reopen)
            height, width = orientation_of(first).turned_size(first.height, first.width)
            fps = float(stream.average_rate) if stream.average_rate else None
            remarks += _remarks_on_end(container, stream, index, frames)
            return cls(path, frames, height, width, fps, timeline, remarks)

    def read(self, start: int, count: int) -> Clip:
        """See :meth:`autogaze.video.frame_source.FrameSource.read`."""
        return clip_of(self.frames_at(frames_available(self, start, count)), count)

    def frames_at(self, numbers: Sequence[int]) -> Frames:
        """See :meth:`autogaze.video.frame_source.FrameSource.frames_at`."""
        with _refusing(self.path):
            frames = read_frames(reopen_file(self.path), numbers, self.timeline)
        if len(frames) < len(numbers):
            raise InputError(
                f"video '{self.path}' is damaged: it should have {self.frames} frames, and decoding ends "
                f"before frame {numbers[len(frames)]}; copy or record it again"
            )
        return frames


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say what FFmpeg cannot read in one sentence."""
    av = import_av()
    try:
        yield
    except av.FFmpegError as error:
        raise InputError(
            f"video '{path}' cannot be read ({error.strerror}): it is no video, or was cut short or damaged; "
            "check it with a player, and copy or record it again"
        ) from None


def _timeline_or_remark(
    container: Any, index: Index, first_pts: int | None, reopen: Reopen
) -> tuple[Timeline | None, tuple[str, ...]]:
    try:
        return find_timeline(container, index, first_pts, reopen), ()
    except NotNumbered as reason:
        return None, (f"every read of the video decodes it from its start, as {reason}",)


def _remarks_on_end(container: Any, stream: Any, index: Index, frames: int) -> tuple[str, ...]:
    """Say of a video whose header does not list its packets that it may have been cut short."""
    if stream.frames and len(index) == stream.frames and index.end:
        return ()
    found = f"the video has {frames} frames and no list of them"
    promised = _promised_frames(container, stream)
    if promised is None:
        return (f"{found}: were it cut short, nothing would tell",)
    if promised > frames + 1:
        return (f"{found}, and its header promises about {promised}: it may have been cut short",)
    return ()


def _promised_frames(container: Any, stream: Any) -> int | None:
    """Return how many frames the header speaks of; None where it does not, or FFmpeg only guesses."""
    if stream.frames:
        return int(stream.frames)
    seconds = None
    # Writers of Matroska note the duration of each stream.
    if noted := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        seconds = 3600 * int(noted[1]) + 60 * int(noted[2]) + float(noted[3])
    elif container.duration and _TIMED_BY_HEADER.intersection(container.format.name.split(",")):
        seconds = container.duration / 1e6 if len(container.streams) == 1 else None
    return round(seconds * float(stream.average_rate)) if seconds and stream.average_rate else None
