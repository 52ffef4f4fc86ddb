"""Selectors that look where there is most to see: the energy of detail, or the size of change.

A patch is worth what it explains. A picture is taken apart into bands (a Laplacian pyramid, Burt and Adelson,
1983): what the coarsest scale shows, and what each finer scale shows beyond the scale before. A patch is
scored by its scale's band, summed over the part of the frame it covers. That makes scales comparable without
a weight to tune: a coarse patch covers more of the frame, a fine one has to find more detail in less of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.gaze.grid import PatchGrid, pooled
from autogaze.selectors.coverage import coarse_first


def laplacian(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Order patches by the energy of detail in the frame, each frame by itself."""
    return order_by(band_strength(_without_mean(video.float()), grid, torch.square), video, budgets, grid)


def frame_difference(video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Order patches by how much changed since the frame before.

    All of the first frame is new, and a picture of its mean colour is what one would guess without it: that
    is what the first frame is held against. Change is counted by its size and not by its energy, which would
    put most patches on the few edges that moved.
    """
    video = video.float()
    change = torch.cat([_without_mean(video[:, :1]), video.diff(dim=1)], dim=1)
    return order_by(band_strength(change, grid, torch.abs), video, budgets, grid)


def band_strength(video: Tensor, grid: PatchGrid, strength: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (B, T, P): for each patch the ``strength`` of its scale's band, summed over its share of the
    frame.

    ``video`` is (B, T, channels, H, W) float. Pictures shrink by averaging areas and grow bilinearly.
    """
    frames = video.flatten(0, 1)
    sums: list[Tensor] = []
    coarser = None
    for scale, side in zip(grid.scales, grid.sides, strict=True):
        picture = F.interpolate(frames, size=(scale, scale), mode="area")
        band = picture
        if coarser is not None:
            band = picture - F.interpolate(coarser, (scale, scale), mode="bilinear", align_corners=False)
        sums.append(pooled(strength(band).mean(dim=1, keepdim=True), side))
        coarser = picture
    return torch.cat(sums, dim=1).view(*video.shape[:2], grid.patches_per_frame)


def order_by(scores: Tensor, video: Tensor, budgets: tuple[int, ...], grid: PatchGrid) -> Tensor:
    """Return (B, T, P) int64: patches by (B, T, P) ``scores``, greatest first.

    Equal ones, such as those of a frame in which nothing changed, come coarse scales first and spread evenly.
    """
    fair = coarse_first(video, budgets, grid)
    best = scores.gather(-1, fair).argsort(dim=-1, descending=True, stable=True)
    return fair.gather(-1, best)


def _without_mean(video: Tensor) -> Tensor:
    return video - video.mean(dim=(-2, -1), keepdim=True)
