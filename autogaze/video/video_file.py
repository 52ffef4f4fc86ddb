"""Video files, and opening any source of frames by its path."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autogaze.errors import InputError
from autogaze.video.frame_source import (
    ARRAY_SUFFIXES,
    ArrayFile,
    Clip,
    FrameSource,
    ImageFolder,
    clip_of,
    frames_available,
)
from autogaze.video.preprocessing import Frames
from autogaze.video.timeline import (
    Timeline,
    decode,
    find_timeline,
    import_av,
    read_frames,
    video_stream,
)


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


@dataclass(frozen=True, eq=False)
class VideoFile:
    """An encoded video. Every read opens the file anew and costs a seek, not a decode from the start."""

    path: Path
    frames: int
    """From the header or the packets; counted by decoding only where neither says."""
    height: int
    width: int
    fps: float | None
    timeline: Timeline | None = field(repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "VideoFile":
        """Check that the file can be used and find out what it holds.

        Raises:
            InputError: for a file that is missing, empty, no video, cut short, or without a picture in it.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(
                f"video '{path}' does not exist: name a video file, a folder of pictures, or a .npz of frames"
            )
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"video '{path}' is empty (0 bytes): copy or record it again")
        with _open(path) as container:
            stream = video_stream(container)
            if (end := _end_of_data(stream)) > size:
                raise InputError(
                    f"video '{path}' is truncated: its header promises {end} bytes and {size} are there; "
                    "copy or record it again"
                )
            timeline = find_timeline(container)
            frames = len(timeline) if timeline else sum(1 for _ in decode(container, stream))
            if frames == 0:
                raise InputError(f"video '{path}' has no frames: name one with at least one")
            fps = float(stream.average_rate) if stream.average_rate else None
            return cls(path, frames, stream.height, stream.width, fps, timeline)

    def read(self, start: int, count: int) -> Clip:
        """See :meth:`autogaze.video.frame_source.FrameSource.read`."""
        return clip_of(self.frames_at(frames_available(self, start, count)), count)

    def frames_at(self, numbers: Sequence[int]) -> Frames:
        """See :meth:`autogaze.video.frame_source.FrameSource.frames_at`."""
        with _open(self.path) as container:
            frames = read_frames(container, numbers, self.timeline)
        if len(frames) < len(numbers):
            raise InputError(
                f"video '{self.path}' is damaged: it should have {self.frames} frames, and decoding ends "
                f"before frame {numbers[len(frames)]}; copy or record it again"
            )
        return frames


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a container with threaded decoding, and say what FFmpeg cannot read in one sentence."""
    av = import_av()
    try:
        with av.open(str(path)) as container:
            for stream in container.streams.video:
                stream.thread_type = "AUTO"
            yield container
    except av.FFmpegError as error:
        raise InputError(
            f"video '{path}' cannot be read ({error.strerror}): it is no video, or was cut short or damaged; "
            "check it with a player, and copy or record it again"
        ) from None


def _end_of_data(stream: Any) -> int:
    """Return the offset in bytes behind the last frame, as far as the header tells; 0 where it does not."""
    return max((entry.pos + entry.size for entry in getattr(stream, "index_entries", ())), default=0)
