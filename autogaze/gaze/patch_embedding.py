"""Embedding of gazed patches, which all encoders of them share.

A frame is looked at in several scales. Only those scales of a frame that hold a gaze are made, and only the
gazed patches are cut out of them.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.packed import PackedGaze


def read_gaze(
    gazing_info: Mapping[str, Any] | PackedGaze, video: Tensor, grid: PatchGrid, model: str
) -> PackedGaze:
    """Return the gazes in a (B, T, C, H, W) video, packed.

    ``gazing_info`` is packed already, or holds ``gazing_pos`` (B, N), ``if_padded_gazing`` (B, N) and
    ``num_gazing_each_frame`` (T,). Frames and whole videos may be without a gaze. ``model`` is what a refusal
    calls the model that ``grid`` belongs to.

    Raises ``InputError`` where gaze, video and grid do not fit together.
    """
    per_frame = grid.patches_per_frame
    if isinstance(gazing_info, PackedGaze):
        _check_grid(gazing_info.num_vision_tokens_each_frame, grid, model)
        gaze = gazing_info
    else:
        _check_grid(_claimed_patches(gazing_info, per_frame), grid, model)
        gaze = _packed(gazing_info, video, per_frame)
    if gaze.frames != video.shape[1]:
        raise InputError(f"the gaze covers {gaze.frames} frames, the video has {video.shape[1]}")
    if gaze.batch != len(video):
        raise InputError(f"the gaze is for a batch of {gaze.batch} videos, the video holds {len(video)}")
    frame = gaze.frame_of_gaze() % max(gaze.frames, 1)
    positions = gaze.positions.cpu()
    if not torch.equal(positions.div(per_frame, rounding_mode="floor"), frame):
        finest = grid.counts[-1]
        alone = torch.equal(positions.div(finest, rounding_mode="floor"), frame)
        hint = f"; these are of {finest} patches a frame, so give the {model} scales={grid.scales[-1]}"
        raise InputError(
            f"gazing_pos holds positions outside the frame their slot belongs to; frame t has positions "
            f"{per_frame} * t to {per_frame} * t + {per_frame - 1}{hint if alone else ''}"
        )
    return gaze


def all_patches(batch: int, frames: int, grid: PatchGrid, device: torch.device) -> PackedGaze:
    """Return the gaze that looks at every patch of every frame, in the order of positions."""
    total = frames * grid.patches_per_frame
    each_frame = (grid.patches_per_frame,) * frames
    return PackedGaze(
        positions=torch.arange(total, device=device).repeat(batch),
        slots=torch.arange(batch * total, device=device),
        gazes_each_frame=(each_frame,) * batch,
        num_gazing_each_frame=each_frame,
        num_vision_tokens_each_frame=grid.patches_per_frame,
    )


def embed_patches(
    video: Tensor,
    gaze: PackedGaze,
    grid: PatchGrid,
    weight: Tensor,
    bias: Tensor | None,
    max_frames: int | None = None,
) -> Tensor:
    """Apply a patch convolution to the gazed patches of a (B, T, C, H, W) video, and to nothing else.

    ``weight`` (width, C, patch size, patch size) and ``bias`` (width,) are the convolution's. ``max_frames``
    bounds how many frames are resized at a time, and with them the memory. Returns (total, width).
    """
    frames, chunk = video.flatten(0, 1), max_frames or video.shape[:2].numel()
    ends = list(accumulate(chain.from_iterable(gaze.gazes_each_frame), initial=0))
    frame, patch = gaze.frame_of_gaze(), gaze.positions.cpu() % grid.patches_per_frame
    embedded = []
    for first in range(0, len(frames), chunk):
        last = min(first + chunk, len(frames))
        rows = slice(ends[first], ends[last])
        pixels = gazed_pixels(frames[first:last], frame[rows] - first, patch[rows], grid)
        embedded.append(F.linear(pixels.to(weight.dtype), weight.flatten(1), bias))
    return torch.cat(embedded)


def gazed_pixels(frames: Tensor, frame: Tensor, patch: Tensor, grid: PatchGrid) -> Tensor:
    """Cut patches out of (F, C, H, W) frames.

    ``frame`` and ``patch``, (n,) int64 on the host, say which: patch ``patch[i]`` of frame ``frame[i]``.
    Frames are resized bicubically without antialiasing, in single precision. Returns (n, C * patch size ** 2)
    float32, values inside a patch ordered as in a convolution's weight.
    """
    size = grid.patch_size
    pixels = frames.new_empty(len(patch), frames.shape[1], size, size, dtype=torch.float32)
    for scale, side, first, count in zip(grid.scales, grid.sides, grid.offsets, grid.counts, strict=True):
        rows = ((patch >= first) & (patch < first + count)).nonzero().squeeze(1)
        if len(rows) == 0:
            continue
        source, place = frame[rows], patch[rows] - first
        pictures = frames
        if frames.shape[-2:] != (scale, scale):
            gazed, source = source.unique(return_inverse=True)
            seen = frames if len(gazed) == len(frames) else frames[gazed]
            pictures = F.interpolate(seen.float(), size=(scale, scale), mode="bicubic", align_corners=False)
        # A view of every patch; indexing copies the gazed ones.
        cells = pictures.unfold(2, size, size).unfold(3, size, size)  # (F, C, side, side, size, size)
        pixels[rows] = cells[source, :, place // side, place % side].float()
    return pixels.flatten(1)


def position_tables(table: Tensor, sides: Sequence[int]) -> list[Tensor]:
    """Resize a square grid of position embeddings, (places, width), bicubically to each of ``sides``.

    Returns one (side ** 2, width) float32 tensor for each.
    """
    side = round(len(table) ** 0.5)
    square = table.float().T.reshape(1, -1, side, side)
    return [
        F.interpolate(square, size=(s, s), mode="bicubic", align_corners=False).flatten(2)[0].T for s in sides
    ]


def _claimed_patches(gazing_info: Mapping[str, Any], otherwise: int) -> int:
    """Return how many patches a frame has by what a gaze says of itself."""
    if "num_vision_tokens_each_frame" in gazing_info:
        return int(gazing_info["num_vision_tokens_each_frame"])
    masks = gazing_info.get("gazing_mask")
    return sum(int(mask.shape[-1]) for mask in masks) if masks else otherwise


def _check_grid(claimed: int, grid: PatchGrid, model: str) -> None:
    if claimed != grid.patches_per_frame:
        raise InputError(
            f"the gaze has {claimed} patches a frame, the {model} {grid.patches_per_frame} (scales "
            f"{'+'.join(map(str, grid.scales))}, patch size {grid.patch_size}); choose patches with "
            f"target_scales={list(grid.scales)} and target_patch_size={grid.patch_size}"
        )


def _packed(gazing_info: Mapping[str, Any], video: Tensor, per_frame: int) -> PackedGaze:
    slots = [int(count) for count in torch.as_tensor(gazing_info["num_gazing_each_frame"]).tolist()]
    positions = torch.as_tensor(gazing_info["gazing_pos"]).to(video.device, torch.int64)
    padding = torch.as_tensor(gazing_info["if_padded_gazing"]).to(video.device, torch.bool)
    if tuple(positions.shape) != (len(video), sum(slots)) or padding.shape != positions.shape:
        raise InputError(
            f"gazing_pos {tuple(positions.shape)} and if_padded_gazing {tuple(padding.shape)} must have "
            f"shape {(len(video), sum(slots))}: the video's batch, and the sum of num_gazing_each_frame"
        )
    return PackedGaze.from_padded(positions, padding, slots, per_frame)
