"""Selector by motion vectors: patches where a video encoder found motion, or content that no motion explains.

An encoder has looked for motion already, and its vectors lie in the file: whoever decodes it anyway has them
for a fifth more time. A block is worth the length of its vector, divided by how many frames lie between the
picture and the one it refers to. A block without one, in a picture predicted
from others, was coded anew because nothing in those pictures resembles it: it counts as motion out of reach.
That is all that a decoder tells of the residual. Nor does it tell which picture a vector points into, only
whether it is an earlier or a later one: it is taken to be the nearest of those that could be referred to.

The vectors say where something moves, but not how much there is to see in it. Natural pictures hold about the
same energy in every octave of detail, so what moves is taken to be worth the same at every scale, and a patch
the motion of all it covers: a fine patch comes before a coarse one where it holds more motion than that.
Pictures coded without others, the first of a clip among them, show no motion: they are covered evenly, coarse
scales first.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autogaze.errors import BackendUnavailable, InputError, unknown_name
from autogaze.gaze.grid import PatchGrid, pooled
from autogaze.selectors.energy import order_by
from autogaze.stages import count
from autogaze.video.bitstreams import h264
from autogaze.video.container import Decoding, demuxed, import_av, reopen_file, video_stream
from autogaze.video.orientation import Orientation, orientation_of
from autogaze.video.preprocessing import FitMode, unnormalize

_CELL = 4
"""Side in pixels of the smallest block that has a vector of its own."""

_OUT_OF_REACH = 16.0
"""Pixels: the motion that a block coded anew stands for, a macroblock's side."""

_CODECS = (("libx264", "h264"), ("mpeg4", "mpeg4"))
"""Encoders and their decoders, the better ones first."""

_BIDIRECTIONAL = 3
"""FFmpeg's type of pictures that may refer to later ones."""

_REACH = 16
"""Frames before and behind a clip that its pictures may refer to; no codec here holds more."""

_EXPORT = {"flags2": "+export_mvs"}

Motion = npt.NDArray[np.float32]
"""(cells down, cells across): pixels of motion a frame."""


def motion_vectors(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Order patches by motion, read from an encoding of each video made in memory (H.264, or else MPEG-4).

    Raises ``BackendUnavailable`` where PyAV has neither encoder.
    """
    scores = torch.stack([_scores(_encoded_motion(clip), grid) for clip in video])
    return order_by(scores.to(video.device), video, budgets, grid)


def file_motion_vectors(
    path: Path, start: int = 0, geometry: FitMode = "square"
) -> Callable[[Tensor, tuple[int, ...], PatchGrid], Tensor]:
    """Return the order by the motion in a file itself, of the clip that begins at frame ``start``.

    The order takes one video, (1, T, 3, H, W), made of the same frames by ``geometry``
    (:func:`~autogaze.video.preprocessing.fit_frames`); frames past the end of the file show no motion.

    Raises ``InputError`` for a file that cannot be read, ends before ``start``, or has no motion vectors, for
    a negative ``start`` and an unknown ``geometry``.
    """
    if start < 0:
        raise InputError(f"start of the motion vectors of {path.name} is {start}: frames count from 0")
    if geometry not in get_args(FitMode):
        raise unknown_name("geometry", str(geometry), get_args(FitMode))

    def order(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
        if len(video) != 1:
            raise InputError(
                f"the motion vectors of {path.name} are those of one video, the batch holds {len(video)}: "
                "give one clip at a time"
            )
        motion = _file_motion(path, start, len(budgets))
        if geometry == "center_crop":
            motion = [_middle(frame) for frame in motion]
        motion += [np.zeros_like(motion[0])] * (len(budgets) - len(motion))
        return order_by(_scores(motion, grid)[None].to(video.device), video, budgets, grid)

    return order


def _scores(motion: Iterable[Motion], grid: PatchGrid) -> Tensor:
    density = torch.from_numpy(np.stack(list(motion)))[:, None]
    return torch.cat([pooled(density, side) for side in grid.sides], dim=1)


def _encoded_motion(clip: Tensor) -> Iterator[Motion]:
    """Encode a (T, 3, H, W) clip, every frame predicted from the one before, and yield the motion of each."""
    av = import_av()
    encoder, decoder = _codecs(av)
    frames = (
        (_even(unnormalize(clip)) * 255)
        .round()
        .to("cpu", torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
        .numpy()
    )
    encoder.height, encoder.width = frames.shape[1:3]
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
    encoder.gop_size, encoder.max_b_frames, encoder.thread_count = len(frames) + 1, 0, 1
    if encoder.name == "libx264":
        encoder.options = {"preset": "veryfast", "crf": "23", "x264-params": "scenecut=0"}
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts = number
        packets += encoder.encode(picture)
    for packet in [*packets, *encoder.encode(None), None]:
        for picture in decoder.decode(packet):
            yield _painted(_vectors(picture), _cells_of(picture))


def _even(pixels: Tensor) -> Tensor:
    """Return pictures with even sides, which they must have as chroma has half the resolution.

    A last odd row holds no block of its own and is left out; a row that is the only one is doubled.
    """
    for axis in (-2, -1):
        side = pixels.shape[axis]
        pixels = pixels.narrow(axis, 0, side // 2 * 2) if side > 1 else pixels.repeat_interleave(2, axis)
    return pixels


def _codecs(av: Any) -> tuple[Any, Any]:
    """Return an encoder, and a decoder for what it writes that tells its motion vectors."""
    for encoder, decoder in _CODECS:
        if {encoder, decoder} <= av.codecs_available:
            reader = av.CodecContext.create(decoder, "r")
            reader.options, reader.thread_count = _EXPORT, 1
            return av.CodecContext.create(encoder, "w"), reader
    raise BackendUnavailable(
        "motion vectors of a video that is not a file need an encoder, and PyAV was built without libx264 "
        "and mpeg4: install PyAV's own wheel (pip install --force-reinstall --only-binary av av), or choose "
        "another selector"
    )


def _file_motion(path: Path, start: int, frames: int) -> list[Motion]:
    """Return the motion of the ``frames`` from ``start``, fewer where the file ends before."""
    av = import_av()
    try:
        with reopen_file(path)(Decoding.DEFINED) as container:
            stream = video_stream(container)
            # With a thread for each frame, the vectors change from run to run.
            stream.thread_type = "SLICE"
            stream.codec_context.options = _EXPORT
            codec = stream.codec_context.name
            before, pictures = _pictures(container, stream, start, start + frames)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"video '{path}' cannot be opened: {error}; name a readable video file") from error
    except av.FFmpegError as error:
        raise InputError(
            f"video '{path}' is damaged before frame {start + frames} ({error.strerror}): check it with "
            "a player, and copy or record it again"
        ) from None
    clip = pictures[before : before + frames]
    if not clip:
        raise InputError(f"video '{path}' ends before frame {start}: start earlier")
    if len(clip) > 1 and not any(picture.vectors is not None for picture in clip):
        raise InputError(
            f"video '{path}' ({codec}) tells no motion vectors in frames {start} to "
            f"{start + len(clip) - 1}: H.264 and MPEG-4 with predicted pictures do"
        )
    return [_motion_of(pictures, before + number, codec) for number in range(len(clip))]


@dataclass(frozen=True, eq=False)
class _Picture:
    """What is kept of a decoded picture."""

    vectors: Any
    """Structured array; None without vectors."""
    cells: tuple[int, int]
    """Down and across."""
    is_bidirectional: bool
    is_reference: bool
    decoded: int
    """Its place in the order of decoding."""
    orientation: Orientation


def _pictures(container: Any, stream: Any, start: int, end: int) -> tuple[int, list[_Picture]]:
    """Return how many pictures before ``start`` follow, and the pictures up to ``end`` with those before and
    behind them that they may refer to."""
    is_h264 = stream.codec_context.name == "h264"
    size = h264.units_before(bytes(stream.codec_context.extradata or b"")) if is_h264 else 0
    packets: dict[int, tuple[int, bool]] = {}
    found: list[_Picture] = []
    first, number = max(0, start - _REACH), -1
    for packet in demuxed(container, stream):
        if packet.pts is not None:
            packets[packet.pts] = len(packets), is_h264 and h264.is_reference(bytes(packet), size)
        for frame in packet.decode():
            count("decoded_frames")
            number += 1
            decoded, is_reference = packets.get(frame.pts, (number, False))
            picture = _picture(frame, decoded, is_reference)
            if number >= first:
                found.append(picture)
            if number >= end + (_REACH if picture.is_bidirectional else 0):
                return start - first, found
    return start - first, found


def _picture(frame: Any, decoded: int, is_reference: bool) -> _Picture:
    is_bidirectional = frame.pict_type == _BIDIRECTIONAL
    return _Picture(
        _vectors(frame),
        _cells_of(frame),
        is_bidirectional,
        is_reference or not is_bidirectional,
        decoded,
        orientation_of(frame),
    )


def _motion_of(pictures: list[_Picture], number: int, codec: str) -> Motion:
    """Return the motion of a picture: its vectors, each divided by the distance to where it points.

    Pictures of MPEG-4 between two others show what the next one shows, or where that has no vectors the last:
    most of their blocks move as those do, and have no vectors of their own.
    """
    picture = pictures[number]
    if codec == "mpeg4" and picture.is_bidirectional:
        anchors = [n for n, other in enumerate(pictures) if not other.is_bidirectional]
        around = [n for n in anchors if n > number][:1] + [n for n in anchors if n < number][-1:]
        told = next((n for n in around if pictures[n].vectors is not None), number)
        if told != number:
            return _motion_of(pictures, told, codec)
    usable = [n for n, other in enumerate(pictures) if other.is_reference and other.decoded < picture.decoded]
    past = number - max((n for n in usable if n < number), default=number - 1)
    future = min((n for n in usable if n > number), default=number + 1) - number
    return picture.orientation.turn(_painted(picture.vectors, picture.cells, past, future))


def _vectors(picture: Any) -> Any:
    """Return the structured array of a decoded picture's motion vectors; None where it has none."""
    data = picture.side_data.get(import_av().sidedata.sidedata.Type.MOTION_VECTORS)
    return None if data is None else data.to_ndarray()


def _cells_of(picture: Any) -> tuple[int, int]:
    return -(-picture.height // _CELL), -(-picture.width // _CELL)


def _painted(vectors: Any, cells: tuple[int, int], past: int = 1, future: int = 1) -> Motion:
    """Return the motion of a picture that refers to others so many frames away.

    Where a block has vectors to several pictures, the longest counts.
    """
    rows, columns = cells
    if vectors is None:
        return np.zeros((rows, columns), np.float32)
    length = np.hypot(vectors["motion_x"], vectors["motion_y"]) / np.maximum(vectors["motion_scale"], 1)
    length = (length / np.where(vectors["source"] < 0, past, future)).astype(np.float32)
    # Around the picture lies a margin of one cell, which takes what of a block is outside.
    canvas = np.full((rows + 2, columns + 2), -1, np.float32)
    # Blocks are many and their sizes few: all of one size are painted at once.
    for height, width in {*zip(vectors["h"].tolist(), vectors["w"].tolist(), strict=True)}:
        sized = (vectors["h"] == height) & (vectors["w"] == width)
        down, across = _cells(vectors["dst_y"][sized], height), _cells(vectors["dst_x"][sized], width)
        places = np.ravel_multi_index((down[:, :, None] + 1, across[:, None] + 1), canvas.shape, mode="clip")
        painted = np.broadcast_to(length[sized, None, None], places.shape)
        np.maximum.at(canvas.reshape(-1), places.ravel(), painted.ravel())
    motion = canvas[1:-1, 1:-1].copy()
    motion[motion < 0] = _OUT_OF_REACH
    return motion


def _cells(middles: npt.NDArray[np.int16], pixels: int) -> npt.NDArray[np.int64]:
    """Return (blocks, cells of a block along one side): where blocks lie, the first cell of the picture 0."""
    return (middles[:, None] - pixels // 2) // _CELL + np.arange(pixels // _CELL)


def _middle(motion: Motion) -> Motion:
    side = min(motion.shape)
    top, left = ((length - side) // 2 for length in motion.shape)
    return motion[top : top + side, left : left + side]
