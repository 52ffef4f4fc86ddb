"""Whatever container, codec, options and mishaps, a frame is the one that decoding from the start gives."""

import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from autogaze.errors import InputError
from autogaze.video.orientation import orientation_of
from autogaze.video.video_file import VideoFile
from tests.video.odd_videos import OddVideo, odd_video

BLOCK = 25
"""Videos a test."""


@dataclass(frozen=True)
class Decoded:
    """What PyAV makes of a freshly opened file, decoded from the start, turned as it says."""

    frames: list[np.ndarray]
    hashes: list[int | None]
    """Of the frames as they are stored; None where the decoder calls a frame damaged."""
    is_complete: bool
    """False where an error ends it."""


def decoded(path: Path) -> Decoded:
    frames: list[np.ndarray] = []
    hashes: list[int | None] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                stored = frame.to_ndarray(format="rgb24")
                frames.append(orientation_of(frame).turn(stored))
                hashes.append(None if frame.is_corrupt else hash(stored.tobytes()))
    except (av.FFmpegError, UnicodeDecodeError, IndexError, AttributeError):
        # The last three are what PyAV makes of damaged metadata, streams that appear late and unknown codecs.
        return Decoded(frames, hashes, False)
    return Decoded(frames, hashes, True)


def opened(video: OddVideo, truth: Decoded) -> VideoFile | None:
    """Open a video, unless it is refused and may be: for damage that decoding meets or the header shows."""
    try:
        return VideoFile.open(video.path)
    except InputError as refusal:
        if truth.frames and truth.is_complete and not (video.is_damaged and "truncated" in str(refusal)):
            raise
        return None


def check(video: OddVideo, rng: random.Random) -> None:
    """Hold count, order, size and pixels of reads anywhere against decoding from the start."""
    truth = decoded(video.path)
    frames, source = truth.frames, opened(video, truth)
    if source is None:
        return
    assert (source.height, source.width) == frames[0].shape[:2]
    assert source.frames == len(frames) or video.is_damaged
    assert source.frames >= len(frames)
    if truth.is_complete:
        for number in range(len(frames), source.frames):
            with pytest.raises(InputError, match="damaged"):
                source.frames_at([number])
    # Damage is hidden with whatever the threads and the memory hold: such pixels are nobody's to promise.
    is_definite = [not video.is_damaged or known in video.intact for known in truth.hashes]
    if video.spliced_at is not None:
        is_definite[video.spliced_at :] = [False] * len(is_definite[video.spliced_at :])
    for start in {0, len(frames) - 1, *(rng.randrange(len(frames)) for _ in range(6))}:
        expected = frames[start : start + rng.choice((1, 4, 16))]
        if len({frame.shape for frame in expected}) > 1 or not truth.is_complete:
            with suppress(InputError):
                source.frames_at(range(start, start + len(expected)))
            continue
        found = source.frames_at(range(start, start + len(expected)))
        assert len(found) == len(expected)
        for number, frame in enumerate(found, start):
            assert frame.shape == frames[number].shape
            assert not is_definite[number] or np.array_equal(frame, frames[number]), f"frame {number}"


def check_block(folder: Path, first: int) -> None:
    for seed in range(first, first + BLOCK):
        if (video := odd_video(folder, seed)) is None:
            continue
        try:
            check(video, random.Random(seed))
        except Exception as error:
            raise AssertionError(f"video {seed}, {video}: {error!r}") from error


@pytest.mark.parametrize("first", range(0, 20 * BLOCK, BLOCK))
def test_any_read_gives_what_decoding_from_the_start_gives(tmp_path: Path, first: int) -> None:
    check_block(tmp_path, first)


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(20 * BLOCK, 240 * BLOCK, BLOCK))
def test_any_read_of_many_more_videos_does_so_too(tmp_path: Path, first: int) -> None:
    check_block(tmp_path, first)
