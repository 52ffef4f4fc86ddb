from pathlib import Path

import numpy as np
from PIL import Image

from reports.visualization import DIMMED, GAP, LEFT, OUTLINE, TILE, TOP, write_visualization

FRAMES, SCALES, SIDES = 3, (32, 64), (2, 4)


def test_gazed_patches_are_outlined_and_all_others_dimmed(tmp_path: Path) -> None:
    original = np.full((FRAMES, 64, 64, 3), 200, np.uint8)
    masks = [np.zeros((FRAMES, side * side)) for side in SIDES]
    masks[0][1, 3] = 1  # frame 1, lower right quarter of the coarse scale
    path = tmp_path / "visualizations" / "clip.png"
    write_visualization(path, "clip", original, original + 55, masks, SCALES)
    pixels = np.asarray(Image.open(path)).astype(int)
    pitch = TILE + GAP
    assert pixels.shape == (TOP + 4 * pitch, LEFT + FRAMES * pitch, 3)

    def tile(row: int, frame: int) -> np.ndarray:
        top, left = TOP + row * pitch, LEFT + frame * pitch
        return pixels[top : top + TILE, left : left + TILE]

    quarter = TILE // 4
    seen = tile(1, 1)
    assert seen[3 * quarter, 3 * quarter].tolist() == [200] * 3
    assert seen[TILE // 2, TILE // 2].tolist() == list(OUTLINE)
    np.testing.assert_allclose(seen[quarter, quarter], 200 * DIMMED, atol=1)
    np.testing.assert_allclose(tile(2, 1), 200 * DIMMED, atol=1)
    assert (tile(0, 2) == 200).all(), "the original is left alone"
    assert (tile(3, 0) == 255).all(), "the reconstruction is below"
