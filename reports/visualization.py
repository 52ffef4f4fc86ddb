"""Visualization of a gaze and its reconstruction: frames in columns, scales in rows."""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TILE = 112
"""Side of one picture, in pixels."""
DIMMED = 0.2
"""Brightness that is left of patches that were not chosen."""
OUTLINE = (230, 30, 30)
GAP = 4
LEFT = 104
TOP = 44


def write_visualization(
    path: Path,
    title: str,
    original: NDArray[np.uint8],
    reconstruction: NDArray[np.uint8],
    masks: Sequence[NDArray[np.generic]],
    scales: Sequence[int],
) -> None:
    """Write a PNG with a column for each frame; rows are the original, each scale, and the reconstruction.

    ``original`` and ``reconstruction`` are (frames, height, width, 3) uint8. ``masks`` has one (frames,
    side·side) array for each of ``scales`` (side lengths in pixels): patches that are not chosen are dimmed,
    chosen ones outlined.
    """
    pictures = [Image.fromarray(frame) for frame in original]
    rows = [("original", pictures)]
    for scale, mask in zip(scales, masks, strict=True):
        rows.append((f"{scale} px", [_gazed(each, seen, scale) for each, seen in zip(pictures, mask)]))
    rows.append(("reconstruction", [Image.fromarray(frame) for frame in reconstruction]))
    path.parent.mkdir(parents=True, exist_ok=True)
    _mosaic(title, rows, len(original)).save(path)


def _gazed(picture: Image.Image, seen: NDArray[np.generic], scale: int) -> Image.Image:
    """Return the picture as this scale sees it, with what was not chosen in the dark."""
    side = isqrt(seen.size)
    grid = seen.reshape(side, side).astype(bool)
    light = Image.fromarray(np.where(grid, 255, round(255 * DIMMED)).astype(np.uint8)).resize(
        (TILE, TILE), Image.Resampling.NEAREST
    )
    tile = picture.resize((scale, scale), Image.Resampling.BICUBIC).resize(
        (TILE, TILE), Image.Resampling.NEAREST
    )
    tile = Image.composite(tile, Image.new("RGB", tile.size), light)
    draw = ImageDraw.Draw(tile)
    edges = [round(i * TILE / side) for i in range(side + 1)]
    for row, column in np.argwhere(grid).tolist():
        draw.rectangle(
            (edges[column], edges[row], edges[column + 1] - 1, edges[row + 1] - 1), outline=OUTLINE
        )
    return tile


def _mosaic(title: str, rows: Sequence[tuple[str, Sequence[Image.Image]]], frames: int) -> Image.Image:
    pitch = TILE + GAP
    page = Image.new("RGB", (LEFT + frames * pitch, TOP + len(rows) * pitch), "white")
    draw = ImageDraw.Draw(page)
    heading, label = ImageFont.load_default(16), ImageFont.load_default(12)
    draw.text((GAP, 4), title, fill="black", font=heading)
    for frame in range(frames):
        draw.text(
            (LEFT + frame * pitch + TILE / 2, TOP - 4),
            f"frame {frame}",
            fill="black",
            font=label,
            anchor="md",
        )
    for row, (name, pictures) in enumerate(rows):
        top = TOP + row * pitch
        draw.text((LEFT - 8, top + TILE / 2), name, fill="black", font=label, anchor="rm")
        for frame, picture in enumerate(pictures):
            page.paste(picture.resize((TILE, TILE), Image.Resampling.BICUBIC), (LEFT + frame * pitch, top))
    return page
