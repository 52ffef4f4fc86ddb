"""Any resolution: cut a picture into tiles the gaze model can look at, and put its choices together again."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import GazeOutput

Scale = int | tuple[int, int]
"""A scale in pixels: the side of a square, or (height, width)."""


@dataclass(frozen=True)
class PictureGrid:
    """Scales of a picture of any proportions, and the patches in each, numbered as in
    :class:`~autogaze.gaze.grid.PatchGrid`.

    ``sizes`` are (height, width) in pixels, ascending; a remainder that is no whole patch is left out, as
    patch embeddings do.
    """

    sizes: tuple[tuple[int, int], ...]
    patch_size: int

    def __post_init__(self) -> None:
        if self.patch_size < 1 or not all(rows and columns for rows, columns in self.shapes):
            raise InputError(
                f"patch size {self.patch_size} does not fit each of the scales {list(self.sizes)}"
            )
        if any(small[side] > large[side] for small, large in pairwise(self.sizes) for side in (0, 1)):
            raise InputError(
                f"scales {list(self.sizes)} must be (height, width) in pixels, in ascending order"
            )

    @classmethod
    def of(cls, scales: Sequence[Scale], patch_size: int) -> "PictureGrid":
        """Read scales of which each is the side of a square or (height, width)."""
        squares = tuple(scale for scale in scales if isinstance(scale, int))
        if len(squares) == len(scales):
            PatchGrid(squares, patch_size)  # refuses what makes no grid
        return cls(tuple((s, s) if isinstance(s, int) else (s[0], s[1]) for s in scales), patch_size)

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of patches in each scale."""
        return tuple((height // self.patch_size, width // self.patch_size) for height, width in self.sizes)

    @cached_property
    def patches_per_frame(self) -> int:
        return sum(rows * columns for rows, columns in self.shapes)


def covering_scales(
    model: PatchGrid, height: int, width: int, patch_size: int
) -> tuple[tuple[int, int], ...]:
    """Return the (height, width) of scales that cover a picture of any size in the proportions of the gaze
    model's own scales.

    The finest is the picture itself, rounded up to whole patches of ``patch_size`` pixels; so are the coarser
    ones, which therefore reach past the picture's edge by less than one of their patches.
    """
    if min(height, width, patch_size) < 1:
        raise InputError(
            f"a {height}x{width} picture has no patches of {patch_size} pixels: all must be positive"
        )
    finest = model.sides[-1]
    rows, columns = -(-height // patch_size), -(-width // patch_size)
    return tuple(
        (patch_size * -(-rows * side // finest), patch_size * -(-columns * side // finest))
        for side in model.sides
    )


@dataclass(frozen=True)
class Tiling:
    """How a picture of the target grid's finest scale is covered by the gaze model's own grid."""

    target: PictureGrid
    model: PatchGrid

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels: as many target patches as the model has of its own."""
        return self.model.sides[-1] * self.target.patch_size

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of tiles."""
        rows, columns = self.target.shapes[-1]
        return math.ceil(rows / self.model.sides[-1]), math.ceil(columns / self.model.sides[-1])

    @property
    def tiles(self) -> int:
        """Tiles in a picture."""
        return self.shape[0] * self.shape[1]

    def window(self, tile: int) -> tuple[slice, slice]:
        """Return the rows and columns of pixels under a tile; they may reach past the picture's edge."""
        row, column = divmod(tile, self.shape[1])
        top, left = row * self.tile_size, column * self.tile_size
        return slice(top, top + self.tile_size), slice(left, left + self.tile_size)

    def fill(self, part: Tensor) -> Tensor:
        """Put zeros right of and below what a window holds of the picture, up to the size of a tile."""
        height, width = part.shape[-2:]
        return F.pad(part, (0, self.tile_size - width, 0, self.tile_size - height))

    def cut(self, video: Tensor, rows: Iterable[int]) -> Tensor:
        """Cut tiles out of (batch, time, 3, height, width): (number of rows, time, 3, tile, tile).

        The rows are those of the batch of all tiles, in which each video has ``tiles`` rows.
        """
        cut = []
        for row in rows:
            sample, tile = divmod(row, self.tiles)
            y, x = self.window(tile)
            cut.append(self.fill(video[sample, ..., y, x]))
        return torch.stack(cut)

    def cut_all(self, video: Tensor) -> Tensor:
        """Cut all tiles out of (batch, time, 3, height, width): (batch * tiles, time, 3, tile, tile)."""
        return self.cut(video, range(len(video) * self.tiles))

    def stitch(self, masks: Sequence[Tensor], batch: int) -> list[Tensor]:
        """Put masks of tiles, one (batch * tiles, time, patches) a scale, together and crop what was
        padded."""
        stitched = []
        for mask, side, (rows, columns) in zip(masks, self.model.sides, self.target.shapes):
            n, m = self.shape
            time = mask.shape[1]
            whole = mask.view(batch, n, m, time, side, side).permute(0, 3, 1, 4, 2, 5)
            whole = whole.reshape(batch, time, n * side, m * side)[:, :, :rows, :columns]
            stitched.append(whole.flatten(2))
        return stitched

    def patch_indices(self) -> Tensor:
        """Return for each patch index of a picture's only tile, and for "no patch", the target's index; "no
        patch" where the tile reaches past the picture."""
        nowhere = self.target.patches_per_frame
        parts, start = [], 0
        for side, (rows, columns) in zip(self.model.sides, self.target.shapes):
            numbers = start + torch.arange(rows * columns).view(rows, columns)
            parts.append(F.pad(numbers, (0, side - columns, 0, side - rows), value=nowhere).flatten())
            start += rows * columns
        return torch.cat([*parts, torch.tensor([nowhere])])


def tiling_for(
    model: PatchGrid, scales: Sequence[Scale] | None, patch_size: int | None, height: int, width: int
) -> Tiling | None:
    """Return how to tile for a downstream encoder's ``scales`` and ``patch_size``; None where no tiling is
    needed."""
    if scales is None and patch_size is None:
        return None
    if scales is None or patch_size is None:
        raise InputError("target_scales and target_patch_size go together: one of them is missing")
    target = PictureGrid.of(scales, patch_size)
    own = PictureGrid.of(model.scales, model.patch_size)
    if target.sizes == own.sizes and target.shapes == own.shapes:
        return None
    if len(scales) != len(model.scales):
        raise InputError(
            f"target_scales {list(scales)} has {len(scales)} scales, but the gaze model has "
            f"{len(model.scales)}"
        )
    finest = target.sizes[-1]
    if not all(side - patch_size < found <= side for found, side in zip((height, width), finest)):
        raise InputError(
            f"the video is {height}x{width}, but the largest target scale asks for {finest[0]}x{finest[1]}"
        )
    tiling = Tiling(target, model)
    for shape, side in zip(target.shapes, model.sides):
        if any(patches > tiles * side for patches, tiles in zip(shape, tiling.shape)):
            raise InputError(
                f"target_scales {list(scales)} in {patch_size}-pixel patches do not keep the proportions of "
                f"the gaze model's scales {list(model.scales)}"
            )
    return tiling


def stitched(outputs: Sequence[GazeOutput], tiling: Tiling) -> GazeOutput:
    """Turn gazes on tiles into gazes on whole pictures.

    ``outputs`` are those of all tiles of a batch of videos, in the order of :meth:`Tiling.cut`, in one call
    or several. Gazes on a single tile keep the order in which they were chosen; those on several come in
    index order, as there is no order between tiles.
    """
    rows = sum(len(output.gazing_pos) for output in outputs)
    masks = [torch.cat(parts) for parts in zip(*(output.gazing_mask for output in outputs))]
    masks = tiling.stitch(masks, rows // tiling.tiles)
    requirements = [o.task_loss_requirement for o in outputs if o.task_loss_requirement is not None]
    requirement = torch.cat(requirements)[:: tiling.tiles] if requirements else None
    if tiling.tiles == 1 and len(outputs) == 1:
        slots = outputs[0].num_gazing_each_frame
        positions, padded = _moved(outputs[0], tiling)
    else:
        positions, padded, slots = positions_from_masks(masks)
    return GazeOutput(
        gazing_pos=positions,
        if_padded_gazing=padded,
        num_gazing_each_frame=slots,
        gazing_mask=masks,
        scales=[height for height, _ in tiling.target.sizes],
        num_vision_tokens_each_frame=tiling.target.patches_per_frame,
        has_task_loss_requirement=requirement is not None,
        task_loss_requirement=requirement,
    )


def _moved(output: GazeOutput, tiling: Tiling) -> tuple[Tensor, Tensor]:
    """Return positions and padding on pictures that are one tile each; gazes beyond the edge are padding."""
    device, slots = output.gazing_pos.device, output.num_gazing_each_frame
    frame = torch.arange(len(slots), device=device).repeat_interleave(slots)
    model, target = tiling.model.patches_per_frame, tiling.target.patches_per_frame
    index = (output.gazing_pos - frame * model).masked_fill(output.if_padded_gazing, model)
    index = tiling.patch_indices().to(device)[index]
    return index + frame * target, index == target


def positions_from_masks(masks: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Read gazes back from (batch, time, patches) masks, one a scale, in index order.

    Returns positions (batch, N) int64, padding (batch, N) bool and slots of each frame (time,), laid out as
    in :class:`~autogaze.gaze.output.GazeOutput`.
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
