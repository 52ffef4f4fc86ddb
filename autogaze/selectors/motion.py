"""Selector by motion vectors: patches where a video encoder found motion, or content that no motion explains.

An encoder has looked for motion already, and its vectors lie in the file: whoever decodes it anyway has them
for a fifth more time. A block is worth the length of its vector. A block without one, in a picture predicted
from others, was coded anew because nothing in those pictures resembles it: it counts as motion out of reach.
That is all that a decoder tells of the residual.

The vectors say where something moves, but not how much there is to see in it. Natural pictures hold about the
same energy in every octave of detail, so what moves is taken to be worth the same at every scale, and a patch
the motion of all it covers: a fine patch comes before a coarse one where it holds more motion than that.
Pictures coded without others, the first of a clip among them, show no motion: they are covered evenly, coarse
scales first.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autogaze.errors import BackendUnavailable, InputError, unknown_name
from autogaze.gaze.grid import PatchGrid, pooled
from autogaze.selectors.energy import order_by
from autogaze.video.preprocessing import FitMode, unnormalize
from autogaze.video.timeline import decode, import_av, video_stream

_CELL = 4
"""Side in pixels of the smallest block that has a vector of its own."""

_OUT_OF_REACH = 16.0
"""Pixels: the motion that a block coded anew stands for, a macroblock's side."""

_CODECS = (("libx264", "h264"), ("mpeg4", "mpeg4"))
"""Encoders and their decoders, the better ones first."""

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
            yield _motion(picture)


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
        container = av.open(str(path))
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"video '{path}' cannot be opened: {error}; name a readable video file") from error
    with container:
        stream = video_stream(container)
        stream.codec_context.options = _EXPORT
        try:
            pictures = list(islice(decode(container, stream), start, start + frames))
        except (OSError, av.FFmpegError) as error:
            raise InputError(
                f"video '{path}' is damaged before frame {start + frames} ({error.strerror}): check it with "
                "a player, and copy or record it again"
            ) from None
        if not pictures:
            raise InputError(f"video '{path}' ends before frame {start}: start earlier")
        if len(pictures) > 1 and not any(_vectors(picture) is not None for picture in pictures):
            raise InputError(
                f"video '{path}' ({stream.codec_context.name}) tells no motion vectors in frames {start} to "
                f"{start + len(pictures) - 1}: H.264 and MPEG-4 with predicted pictures do"
            )
        return [_motion(picture) for picture in pictures]


def _vectors(picture: Any) -> Any:
    """Return the structured array of a decoded picture's motion vectors; None where it has none."""
    data = picture.side_data.get(import_av().sidedata.sidedata.Type.MOTION_VECTORS)
    return None if data is None else data.to_ndarray()


def _motion(picture: Any) -> Motion:
    """Return the motion of one picture; where a block has vectors to several pictures, the longest."""
    rows, columns = -(-picture.height // _CELL), -(-picture.width // _CELL)
    vectors = _vectors(picture)
    if vectors is None:
        return np.zeros((rows, columns), np.float32)
    length = np.hypot(vectors["motion_x"], vectors["motion_y"])
    length = length / np.maximum(vectors["motion_scale"], 1) / np.abs(vectors["source"]).clip(1)
    length = length.astype(np.float32)
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
