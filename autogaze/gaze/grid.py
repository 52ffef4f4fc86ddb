"""The multi-scale patch grid: which index means which patch.

A frame is looked at in several scales; each scale is cut into square patches. A *patch index* numbers the
patches of a frame, scales in ascending order and row-major inside each. A *gaze position* is ``frame *
patches_per_frame + patch index``.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.errors import InputError


@dataclass(frozen=True)
class PatchGrid:
    """Scales of a frame and the patches in each.

    ``scales`` are side lengths in pixels, ascending; ``patch_size`` is the side of a patch in pixels.
    """

    scales: tuple[int, ...]
    patch_size: int

    def __post_init__(self) -> None:
        if not self.scales or list(self.scales) != sorted(set(self.scales)):
            raise InputError(
                f"scales {list(self.scales)} must be distinct side lengths in pixels, in ascending order"
            )
        if self.patch_size < 1 or self.scales[0] < self.patch_size:
            raise InputError(
                f"patch size {self.patch_size} does not fit the smallest scale, {self.scales[0]} pixels"
            )

    @classmethod
    def parse(cls, scales: str | int, patch_size: int) -> "PatchGrid":
        """Read the checkpoints' notation, ``"32+64+112+224"``."""
        try:
            return cls(tuple(sorted(int(scale) for scale in str(scales).split("+"))), patch_size)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"scales '{scales}' must be side lengths in pixels joined by '+', such as 32+64+112+224"
            ) from None

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """Patches along a side, for each scale."""
        return tuple(scale // self.patch_size for scale in self.scales)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Patches in each scale."""
        return tuple(side * side for side in self.sides)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Patch index of the first patch of each scale."""
        return (0, *accumulate(self.counts[:-1]))

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """For each patch the one in its place where left and right are exchanged."""
        return tuple(
            first + row * side + side - 1 - column
            for first, side in zip(self.offsets, self.sides, strict=True)
            for row in range(side)
            for column in range(side)
        )

    @cached_property
    def patches_per_frame(self) -> int:
        """Patches of a frame over all scales; also the index that stands for "no patch" in a frame."""
        return sum(self.counts)


def cover(grid: PatchGrid) -> Tensor:
    """Return (patches, rows, columns): which share of each patch of the finest scale a patch lies over."""
    finest = grid.sides[-1]
    shares = []
    for side in grid.sides:
        edges = torch.arange(side + 1) * finest / side
        cells = torch.arange(finest)
        ends, starts = torch.minimum(edges[1:, None], cells + 1), torch.maximum(edges[:-1, None], cells)
        along = (ends - starts).clamp(min=0)
        shares.append((along[:, None, :, None] * along[None, :, None, :]).flatten(0, 1))
    return torch.cat(shares)


def pooled(density: Tensor, side: int) -> Tensor:
    """Return (F, side ** 2): (F, 1, H, W) ``density`` added up over each patch, as a share of the frame."""
    sums: Tensor = F.adaptive_avg_pool2d(density, side).flatten(1) / side**2
    return sums


RELEASED_GRID = PatchGrid((32, 64, 112, 224), 16)
"""The grid of the released gaze model, which is meant where none is named."""
