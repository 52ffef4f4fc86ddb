"""Tiles cover the picture, and masks come back where they were."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autogaze.errors import InputError
from autogaze.models.autogaze.tiling import Tiling, positions_from_masks, tiling_for
from autogaze.patches import PatchGrid

MODEL = PatchGrid((32, 64, 112, 224), 16)


@given(st.sampled_from([(392, 14), (448, 16), (784, 14), (480, 16), (224, 8)]), st.integers(1, 2))
def test_every_patch_of_the_picture_lies_in_one_tile(size_and_patch, batch):
    size, patch = size_and_patch
    scales = (size // 7, size * 2 // 7, size // 2, size)
    tiling = Tiling(PatchGrid(tuple(s // patch * patch for s in scales), patch), MODEL)
    video = torch.rand(batch, 1, 3, size, size)
    tiles = tiling.cut(video)
    assert tiles.shape == (batch * tiling.tiles**2, 1, 3, tiling.tile_size, tiling.tile_size)
    assert torch.isclose(tiles.sum(), video.sum(), rtol=1e-4)
    side = tiling.target.sides[-1]
    marks = torch.arange(batch * side * side).view(batch, side, side).float() + 1
    padded = torch.zeros(batch, tiling.tiles * 14, tiling.tiles * 14)
    padded[:, :side, :side] = marks
    n = tiling.tiles
    cut = padded.view(batch, n, 14, n, 14).permute(0, 1, 3, 2, 4).reshape(batch * n * n, 1, 196)
    coarse = [torch.zeros(batch * n * n, 1, count) for count in MODEL.counts[:-1]]
    stitched = tiling.stitch([*coarse, cut], batch)
    assert torch.equal(stitched[-1].view(batch, side, side), marks)


def test_the_models_own_grid_needs_no_tiles():
    assert tiling_for(MODEL, [32, 64, 112, 224], 16, 224, 224) is None
    assert tiling_for(MODEL, None, None, 1080, 1920) is None


def test_scales_out_of_proportion_are_refused():
    with pytest.raises(InputError, match="proportions"):
        tiling_for(MODEL, [200, 300, 392, 448], 16, 448, 448)


def test_positions_are_read_back_in_index_order_and_padded_to_the_longest():
    masks = [torch.tensor([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]), torch.ones(2, 2, 1)]
    masks[1][0, 0] = 0
    positions, padded, slots = positions_from_masks(masks)
    assert slots.tolist() == [2, 2]
    assert positions.tolist() == [[1, 3, 5, 6], [0, 2, 4, 5]]
    assert padded.tolist() == [[False, True, False, True], [False, False, False, False]]
