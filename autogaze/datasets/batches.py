"""Batches: items of a data set collated, and brought to what models are given."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.grid import RELEASED_GRID, PatchGrid
from autogaze.video.preprocessing import DEFAULT_PIXEL_SCALE


def collate(items: Sequence[dict[str, Any]], grid: PatchGrid | None = None) -> dict[str, Any]:
    """Stack items of a data set.

    Args:
        items: dicts with ``frames`` (T, H, W, 3) uint8, ``video_path``, and, in all or none,
        ``gt_gazing_info``. grid: which the labels' patch indices are of; the released model's if None.

    Returns:
        ``frames`` (B, T, H, W, 3) uint8, ``video_path`` (a list), and, of labelled items, ``gt_gazing_info``:
        ``gazing_pos`` (B, N) int64, ``if_padded_gazing`` (B, N) bool and ``num_gazing_each_frame`` (T,) int64
        as in :class:`~autogaze.models.autogaze.GazeOutput`, and
        ``task_losses`` (B, N) float32, 0 where padded.

    Raises:
        InputError: for clips of several shapes, items of which some have labels, and patches ``grid`` lacks.
    """
    shapes = {tuple(item["frames"].shape) for item in items}
    if len(shapes) != 1:
        raise InputError(
            f"clips of shapes {sorted(shapes)} do not make a batch: one clip_len and size is needed"
        )
    batch: dict[str, Any] = {
        "frames": torch.stack([item["frames"] for item in items]),
        "video_path": [item["video_path"] for item in items],
    }
    labelled = sum("gt_gazing_info" in item for item in items)
    if labelled == len(items):
        batch["gt_gazing_info"] = _collate_labels(items, grid or RELEASED_GRID)
    elif labelled:
        raise InputError(
            f"{labelled} of {len(items)} clips of a batch have labels: label all or none of them"
        )
    return batch


def to_inputs(batch: dict[str, Any], device: torch.device | str) -> dict[str, Tensor]:
    """Move a batch to ``device`` and normalise it there, by the numbers of the released checkpoints.

    Returns:
        ``video`` (B, T, 3, H, W) float32, equal to :func:`autogaze.video.preprocessing.normalize` up to the
        last bit's rounding, and ``video_for_task``, the same tensor: both models see one picture.
    """
    scale = DEFAULT_PIXEL_SCALE
    pixels = batch["frames"].to(device, non_blocking=True).movedim(-1, -3)
    mean, std = (
        torch.tensor(value, device=device).view(3, 1, 1) for value in (scale.image_mean, scale.image_std)
    )
    video = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    video.mul_(scale.rescale_factor).sub_(float(scale.offset)).sub_(mean).div_(std)
    return {"video": video, "video_for_task": video}


def _collate_labels(items: Sequence[dict[str, Any]], grid: PatchGrid) -> dict[str, Tensor]:
    """Lay the labels of all items side by side, every frame padded to the most gazes any item has in it."""
    patches, frames = grid.patches_per_frame, len(items[0]["frames"])
    for item in items:
        _check_positions(item, patches)
    infos = [item["gt_gazing_info"] for item in items]
    slots = [max(len(info["gazing_pos"][t]) for info in infos) for t in range(frames)]
    shape = len(items), sum(slots)
    padding = torch.arange(1, frames + 1).repeat_interleave(torch.tensor(slots)) * patches
    positions, losses = padding.expand(shape).clone(), torch.zeros(shape)
    padded = torch.ones(shape, dtype=torch.bool)
    for row, info in enumerate(infos):
        start = 0
        for t, (chosen, after) in enumerate(zip(info["gazing_pos"], info["task_losses"], strict=True)):
            places = slice(start, start + len(chosen))
            positions[row, places] = torch.tensor(chosen) + patches * t
            losses[row, places] = torch.tensor(after)
            padded[row, places] = False
            start += slots[t]
    return {
        "gazing_pos": positions,
        "task_losses": losses,
        "if_padded_gazing": padded,
        "num_gazing_each_frame": torch.tensor(slots),
    }


def _check_positions(item: dict[str, Any], patches: int) -> None:
    largest = max(max(frame) for frame in item["gt_gazing_info"]["gazing_pos"])
    if largest >= patches:
        raise InputError(
            f"the labels of '{item['video_path']}' hold patch index {largest}: indices below {patches}, the "
            "patches of a frame, are needed"
        )
