"""Containers: opening video files with PyAV so that they decode as a player would decode them.

To rewind is to open anew. A seek is no way back to the start: time 0 need not be where a file begins, and
what a decoder is told with the first packets, a palette for one, is not told again.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any

from autogaze.errors import InputError
from autogaze.stages import count


class Decoding(Enum):
    """How a container is decoded."""

    DEFINED = "as PyAV does by itself"
    """What damage can be hidden is, in ways that depend on the threads."""
    FAST = "several frames at a time"
    """To the same pixels, unless there is damage."""
    STRICT = "several frames at a time, until there is damage"
    """FFmpeg's error is raised at the first sign of it."""


Reopen = Callable[[Decoding], AbstractContextManager[Any]]
"""Opens a container at its start."""


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


@contextmanager
def opened(file: Any, decoding: Decoding = Decoding.DEFINED, **options: Any) -> Iterator[Any]:
    """Open a container, given as ``av.open`` takes it and with its options, at its start."""
    av = import_av()
    with av.open(file, **options) as container:
        for stream in container.streams.video:
            if stream.codec_context is None or decoding is Decoding.DEFINED:
                continue
            if _is_exact_by_frames(stream.codec_context):
                stream.thread_type = "AUTO"
            if decoding is Decoding.STRICT:
                stream.codec_context.options = {"err_detect": "explode"}
        yield container


def _is_exact_by_frames(codec: Any) -> bool:
    """Return whether FFmpeg decodes to the same pixels where each frame has a thread of its own.

    It does not for interlaced B-frames of MPEG-4, nor for FFV1 behind lost packets.
    """
    return not (codec.name == "ffv1" or (codec.name == "mpeg4" and codec.has_b_frames))


def reopen_file(path: str | os.PathLike[str]) -> Reopen:
    """Return what opens a file anew. Its absolute path is never taken for a protocol, as '12:30.mp4' is."""
    file = os.path.abspath(path)
    return lambda decoding: opened(file, decoding, metadata_errors="replace")


def reopen_container(container: Any) -> Reopen:
    """Return what opens an open container's file anew, with the same options, and leaves it where it is."""
    options = {
        "format": container.format.name.split(",")[0],
        "options": container.options,
        "container_options": container.container_options,
        "stream_options": container.stream_options,
        "metadata_errors": container.metadata_errors,
    }
    if container.file is None:
        name = container.name
        return lambda decoding: opened(
            os.path.abspath(name) if os.path.exists(name) else name, decoding, **options
        )
    file = container.file.file

    @contextmanager
    def rewound(decoding: Decoding) -> Iterator[Any]:
        try:
            place = file.tell()
            file.seek(0)
        except (OSError, AttributeError):
            raise InputError(
                f"'{container.name}' is read from an object that cannot seek: open a file by its name, or an "
                "object with seek and tell"
            ) from None
        try:
            with opened(_Borrowed(file), decoding, **options) as other:
                yield other
        finally:
            file.seek(place)

    return rewound


class _Borrowed:
    """A file object that whoever opens it cannot close."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def video_stream(container: Any) -> Any:
    """Return the first stream of moving pictures; cover pictures of audio files do not count."""
    av = import_av()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise InputError(
                    f"'{container.name}' holds video of a codec that PyAV does not know: encode it anew"
                )
            return stream
    raise InputError(
        f"'{container.name}' has no video stream among its {len(container.streams)}: name a file with "
        "moving pictures"
    )


def demuxed(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets of a stream from where the container is.

    Raises:
        InputError: where the container turns out to hold more streams than its beginning tells.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            raise InputError(
                f"'{container.name}' gains a stream on its way, which PyAV cannot follow: it is damaged, or "
                "needs to be put into another container first, as 'ffmpeg -i in -c copy out.mkv' does"
            ) from None
        if packet is None:
            return
        yield packet


def decode(container: Any, stream: Any) -> Iterator[Any]:
    """Decode from where the container is, and count the frames as work."""
    for packet in demuxed(container, stream):
        for frame in packet.decode():
            count("decoded_frames")
            yield frame
