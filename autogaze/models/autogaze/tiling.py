"""Any resolution: cut a picture into tiles the gaze model can look at, and put its choices together again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.errors import InputError
from autogaze.patches import PatchGrid


@dataclass(frozen=True)
class Tiling:
    """How a square picture of the target grid's finest scale is covered by the gaze model's own grid."""

    target: PatchGrid
    model: PatchGrid

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels: as many target patches as the model has of its own."""
        return self.model.sides[-1] * self.target.patch_size

    @property
    def tiles(self) -> int:
        """Tiles along a side."""
        return math.ceil(self.target.sides[-1] / self.model.sides[-1])

    def cut(self, video: Tensor) -> Tensor:
        """Cut (batch, time, 3, size, size) into (batch * tiles², time, 3, tile, tile), zeros right of it and
        below."""
        n, side = self.tiles, self.tile_size
        missing = n * side - video.shape[-1]
        video = F.pad(video, (0, missing, 0, missing))
        batch, time, channels = video.shape[:3]
        video = video.view(batch, time, channels, n, side, n, side).permute(0, 3, 5, 1, 2, 4, 6)
        return video.reshape(batch * n * n, time, channels, side, side)

    def stitch(self, masks: Sequence[Tensor], batch: int) -> list[Tensor]:
        """Put masks of tiles, one (batch * tiles², time, patches) a scale, together and crop what was
        padded."""
        stitched = []
        for mask, tile, side in zip(masks, self.model.sides, self.target.sides):
            n, time = self.tiles, mask.shape[1]
            whole = mask.view(batch, n, n, time, tile, tile).permute(0, 3, 1, 4, 2, 5)
            whole = whole.reshape(batch, time, n * tile, n * tile)[:, :, :side, :side]
            stitched.append(whole.flatten(2))
        return stitched


def tiling_for(
    model: PatchGrid, scales: Sequence[int] | None, patch_size: int | None, height: int, width: int
) -> Tiling | None:
    """Return how to tile for a downstream encoder's ``scales`` and ``patch_size``; None where no tiling is
    needed."""
    if scales is None and patch_size is None:
        return None
    if scales is None or patch_size is None:
        raise InputError("target_scales and target_patch_size go together: one of them is missing")
    target = PatchGrid(tuple(scales), patch_size)
    if target.scales == model.scales and target.sides == model.sides:
        return None
    if len(target.scales) != len(model.scales):
        raise InputError(
            f"target_scales {list(scales)} has {len(scales)} scales, but the gaze model has {len(model.scales)}"
        )
    if (height, width) != (target.scales[-1],) * 2:
        raise InputError(
            f"the video is {height}x{width}, but the largest target scale asks for {target.scales[-1]}x{target.scales[-1]}"
        )
    tiling = Tiling(target, model)
    for side, tile in zip(target.sides, model.sides):
        if side > tiling.tiles * tile:
            raise InputError(
                f"target_scales {list(scales)} in {patch_size}-pixel patches do not keep the proportions of the gaze "
                f"model's scales {list(model.scales)}"
            )
    return tiling


def positions_from_masks(masks: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Read gazes back from (batch, time, patches) masks, one a scale, in index order.

    Returns positions (batch, N) int64, padding (batch, N) bool and slots of each frame (time,), laid out as
    in :class:`~autogaze.models.autogaze.output.GazeOutput`.
    """
    mask = torch.cat(list(masks), dim=-1) > 0  # (batch, time, patches of a frame)
    patches = mask.shape[-1]
    slots = mask.sum(dim=-1).amax(dim=0)
    order = (~mask).long().argsort(dim=-1, stable=True)  # gazed indices first, in order
    positions, padded = [], []
    for t, n in enumerate(slots.tolist()):
        index = order[:, t, :n]
        missing = ~mask[:, t].gather(1, index)
        positions.append(index.masked_fill(missing, patches) + patches * t)
        padded.append(missing)
    return torch.cat(positions, dim=1), torch.cat(padded, dim=1), slots
