"""Choosing patches of videos of any length and resolution, in memory that does not grow with the length."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.output import GazeOutput
from autogaze.models.autogaze.budgets import Ratio, Requirement, as_ratios, as_requirement
from autogaze.models.autogaze.modeling_autogaze import AutoGaze
from autogaze.models.autogaze.tiling import Tiling, covering_scales, stitched, tiling_for
from autogaze.video.frame_source import FrameSource
from autogaze.video.preprocessing import FitMode, Frames, fit_frames, normalize


@dataclass(frozen=True, eq=False)
class GazedChunk:
    """Consecutive frames of a video and the patches chosen of them."""

    start: int
    """Number of the first frame."""
    frames: Frames
    """(T, height, width, 3) uint8, as decoded."""
    gaze: GazeOutput
    """Of these frames: a batch of one video, positions counted from the first of them."""


def gaze_video(
    model: AutoGaze,
    source: FrameSource,
    *,
    chunk: int | None = None,
    gazing_ratio: Ratio | None = None,
    task_loss_requirement: Requirement | None = None,
    patch_size: int | None = None,
    max_batch_size: int = 16,
    geometry: FitMode = "square",
) -> Iterator[GazedChunk]:
    """Choose patches of a whole video, chunk by chunk: decode one, look at it by itself, forget it.

    What is held at any time is one chunk of decoded frames, ``max_batch_size`` tiles of it as floats, and the
    key-value cache of these tiles; and the chunk before, for as long as the caller holds it.

    Args:
        model: the gaze model; the frames are brought to its device and data type.
        source: the video, from :func:`autogaze.video.video_file.open_source`.
        chunk: frames looked at together, fewer at the video's end; None for as many as the model was trained
            with.
        gazing_ratio: share of the candidate patches that may be chosen, in [0, 1]: one number, or one for
            each frame of a chunk.
        task_loss_requirement: stop a frame once its predicted reconstruction loss is at or below this: one
            number, or one for each frame of a chunk. At least one of the two must be given.
        patch_size: look at the full resolution, cut into tiles, for an encoder with patches of so many pixels
            and the scales of :func:`~autogaze.models.autogaze.tiling.covering_scales`. A chunk whose frames
            are of another size than those before it is cut into tiles of its own. None looks at frames in the
            model's own size.
        max_batch_size: most tiles that go through the model at once.
        geometry: how a frame becomes a square where ``patch_size`` is None.

    Raises:
        InputError: here, for settings that cannot be used; while iterating, for frames that cannot be read.
    """
    chunk = model.config.max_num_frames if chunk is None else chunk
    if chunk < 1 or max_batch_size < 1:
        raise InputError(f"chunk {chunk} and max_batch_size {max_batch_size} must both be at least 1")
    limits_of = _limits(model, chunk, gazing_ratio, task_loss_requirement)

    @cache
    def tiling_of(height: int, width: int) -> Tiling | None:
        return _tiling(model, height, width, patch_size)

    tiling_of(source.height, source.width)

    @torch.no_grad()
    def gazed(start: int) -> GazedChunk:
        frames = source.read(start, min(chunk, source.frames - start)).frames
        limits = limits_of(len(frames))
        tiling = tiling_of(*frames.shape[1:3])
        if tiling is None:
            square = fit_frames(frames, model.arch.image_size, geometry)
            return GazedChunk(start, frames, model({"video": _as_video(square, model)[None]}, **limits))
        tiles = _tiles(frames, tiling, max_batch_size, model)
        outputs = [model({"video": batch}, **limits) for batch in tiles]
        return GazedChunk(start, frames, stitched(outputs, tiling))

    return map(gazed, range(0, source.frames, chunk))


def _limits(
    model: AutoGaze, chunk: int, ratio: Ratio | None, requirement: Requirement | None
) -> Callable[[int], dict[str, Any]]:
    """Return what gives the model's limits for the first so many frames of a chunk."""
    if ratio is None and requirement is None:
        raise InputError("a video needs gazing_ratio, task_loss_requirement or both, and got neither")
    ratios = as_ratios(1.0 if ratio is None else ratio, chunk)
    losses = None if requirement is None else as_requirement(requirement, 1, chunk, model.device)[0]
    return lambda frames: {
        "gazing_ratio": ratios[:frames],
        "task_loss_requirement": None if losses is None else losses[:frames],
        "generate_only": True,
    }


def _tiling(model: AutoGaze, height: int, width: int, patch_size: int | None) -> Tiling | None:
    if patch_size is None:
        return None
    scales = covering_scales(model.arch.grid, height, width, patch_size)
    return tiling_for(model.arch.grid, scales, patch_size, height, width)


def _tiles(frames: Frames, tiling: Tiling, at_once: int, model: AutoGaze) -> Iterator[Tensor]:
    """Yield batches of tiles, (at most ``at_once``, T, 3, tile, tile), each normalised in its turn."""
    for first in range(0, tiling.tiles, at_once):
        windows = map(tiling.window, range(first, min(first + at_once, tiling.tiles)))
        yield torch.stack([tiling.fill(_as_video(frames[:, y, x], model)) for y, x in windows])


def _as_video(frames: Frames, model: AutoGaze) -> Tensor:
    return torch.from_numpy(normalize(frames)).to(model.device, model.dtype)
