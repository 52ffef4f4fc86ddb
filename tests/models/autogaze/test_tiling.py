"""Tiles cover the picture, and masks come back where they were."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.models.autogaze.tiling import (
    PictureGrid,
    Tiling,
    covering_scales,
    positions_from_masks,
    tiling_for,
)
from tests.reference.cases import gaze_model
from tests.reference.fill import clip

MODEL = PatchGrid((32, 64, 112, 224), 16)


def tiling_over(height, width, patch):
    scales = covering_scales(MODEL, height, width, patch)
    return tiling_for(MODEL, scales, patch, height, width) or Tiling(PictureGrid(scales, patch), MODEL)


@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([14, 16, 40]), st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_every_pixel_and_patch_of_any_picture_lies_in_one_tile(height, width, patch, batch):
    tiling = tiling_over(height, width, patch)
    video = torch.rand(batch, 1, 3, height, width)
    tiles = tiling.cut(video, range(batch * tiling.tiles))
    assert tiles.shape == (batch * tiling.tiles, 1, 3, tiling.tile_size, tiling.tile_size)
    (rows, columns), (n, m) = tiling.target.shapes[-1], tiling.shape
    picture = torch.nn.functional.pad(video, (0, columns * patch - width, 0, rows * patch - height))

    # A mask that marks the patches with bright middles must look like the picture itself.
    def bright(frames):
        return torch.nn.functional.avg_pool2d(frames[:, 0], patch)[:, :1].gt(0.5).float()

    side = MODEL.sides[-1]
    masks = [torch.zeros(batch * n * m, 1, count) for count in MODEL.counts[:-1]]
    masks.append(bright(tiles).reshape(batch * n * m, 1, side * side))
    assert torch.equal(tiling.stitch(masks, batch)[-1], bright(picture).reshape(batch, 1, -1))


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([14, 16]))
def test_covering_scales_cover_the_picture_and_fit_into_its_tiles(height, width, patch):
    tiling = tiling_over(height, width, patch)
    finest = tiling.target.sizes[-1]
    assert 0 <= finest[0] - height < patch
    assert 0 <= finest[1] - width < patch
    for side, shape in zip(MODEL.sides, tiling.target.shapes):
        for patches, finest_patches, tiles in zip(shape, tiling.target.shapes[-1], tiling.shape):
            assert 0 <= patches / side - finest_patches / MODEL.sides[-1] < 1 / side
            assert patches <= tiles * side


def test_covering_scales_of_a_square_of_whole_tiles_are_the_released_ones():
    assert covering_scales(MODEL, 392, 392, 14) == ((56, 56), (112, 112), (196, 196), (392, 392))
    assert covering_scales(MODEL, 2160, 3840, 16)[-1] == (2160, 3840)


@pytest.mark.parametrize("arguments", [(0, 224, 16), (224, 224, 0)])
def test_a_picture_without_pixels_or_patches_is_refused(arguments):
    with pytest.raises(InputError, match="must be positive"):
        covering_scales(MODEL, *arguments)


def test_the_models_own_grid_needs_no_tiles():
    assert tiling_for(MODEL, [32, 64, 112, 224], 16, 224, 224) is None
    assert tiling_for(MODEL, None, None, 1080, 1920) is None
    assert tiling_for(MODEL, covering_scales(MODEL, 224, 224, 16), 16, 224, 224) is None


def test_scales_out_of_proportion_are_refused():
    with pytest.raises(InputError, match="proportions"):
        tiling_for(MODEL, [200, 300, 392, 448], 16, 448, 448)


@pytest.mark.parametrize(
    ("scales", "words"),
    [
        ([(32, 32), (64, 64), (96, 128), (90, 256)], "ascending order"),
        ([(8, 32), (64, 64), (96, 128), (128, 256)], "patch size 16 does not fit"),
        (
            [(32, 64), (64, 128), (112, 224), (224, 448)],
            "448x224, but the largest target scale asks for 224x448",
        ),
    ],
)
def test_scales_that_make_no_grid_over_the_picture_are_refused(scales, words):
    with pytest.raises(InputError, match=words):
        tiling_for(MODEL, scales, 16, 448, 224)


def test_a_wide_video_gets_on_each_tile_what_the_tile_gets_alone():
    model, video = gaze_model("tiny", 12), clip(60, 2, 2, 448)[..., :224, :]
    scales = covering_scales(model.arch.grid, 224, 448, 16)
    with torch.inference_mode():
        whole = model({"video": video}, gazing_ratio=0.1, target_scales=scales, target_patch_size=16)
        left = model({"video": video[..., :224]}, gazing_ratio=0.1)
        right = model({"video": video[..., 224:]}, gazing_ratio=0.1)
    for side, mask, *halves in zip(MODEL.sides, whole.gazing_mask, left.gazing_mask, right.gazing_mask):
        parts = [half.view(2, 2, side, side) for half in halves]
        assert torch.equal(mask.view(2, 2, side, 2 * side), torch.cat(parts, dim=-1))
    assert whole.num_vision_tokens_each_frame == 2 * 265
    assert whole.scales == [32, 64, 112, 224]
    assert whole.gazes_each_frame().tolist() == [[52, 52], [52, 52]]


def test_gazes_on_a_single_tile_keep_the_order_in_which_they_were_chosen():
    model, video, scales = gaze_model("tiny", 12), clip(61, 1, 2, 196), [28, 56, 98, 196]
    with torch.inference_mode():
        own = model({"video": video}, gazing_ratio=0.1)
        other = model({"video": video}, gazing_ratio=0.1, target_scales=scales, target_patch_size=14)
    assert other.gazing_pos.tolist() == own.gazing_pos.tolist()
    assert other.scales == scales


def test_gazes_beyond_the_edge_of_a_single_tile_are_padding():
    model, video = gaze_model("tiny", 12), clip(62, 2, 2, 224)[..., :100, :180]
    scales = covering_scales(model.arch.grid, 100, 180, 16)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(video, (0, 44, 0, 124))
        tile = model({"video": padded}, gazing_ratio=0.2)
        output = model({"video": video}, gazing_ratio=0.2, target_scales=scales, target_patch_size=16)
    grids = [(1, 2), (2, 4), (4, 6), (7, 12)]
    assert [(height // 16, width // 16) for height, width in scales] == grids
    assert output.if_padded_gazing.any()
    assert not output.if_padded_gazing.all(dim=1).any()
    for side, (rows, columns), ours, theirs in zip(MODEL.sides, grids, output.gazing_mask, tile.gazing_mask):
        cropped = theirs.view(2, 2, side, side)[:, :, :rows, :columns]
        assert torch.equal(ours, cropped.flatten(2))
    # The masks say where, the positions say when: both must name the same patches.
    whole = torch.cat(output.gazing_mask, dim=-1).flatten(1)
    for b in range(2):
        real = output.gazing_pos[b][~output.if_padded_gazing[b]]
        assert sorted(real.tolist()) == whole[b].nonzero()[:, 0].tolist()


def test_how_many_tiles_go_through_at_once_changes_nothing():
    model, video = gaze_model("tiny", 12), clip(63, 2, 2, 448)[..., :336]
    requirement = torch.tensor([[-0.4, -0.8], [-0.7, -0.5]])
    kwargs = {
        "task_loss_requirement": requirement,
        "target_scales": covering_scales(model.arch.grid, 448, 336, 16),
        "target_patch_size": 16,
    }
    with torch.inference_mode():
        whole = model({"video": video}, **kwargs)
        parts = model({"video": video}, **kwargs, max_batch_size=3)
    assert torch.equal(whole.gazing_pos, parts.gazing_pos)
    assert torch.equal(whole.if_padded_gazing, parts.if_padded_gazing)
    assert torch.equal(parts.task_loss_requirement, requirement)


def test_how_many_videos_go_through_at_once_changes_nothing():
    model, video = gaze_model("tiny", 12), clip(64, 3, 3)
    with torch.inference_mode():
        whole = model({"video": video}, gazing_ratio=0.3, task_loss_requirement=-0.6)
        model.config.max_batch_size = 2
        try:
            parts = model({"video": video}, gazing_ratio=0.3, task_loss_requirement=-0.6)
        finally:
            model.config.max_batch_size = None
    assert torch.equal(whole.gazing_pos, parts.gazing_pos)
    assert torch.equal(whole.if_padded_gazing, parts.if_padded_gazing)


def test_positions_are_read_back_in_index_order_and_padded_to_the_longest():
    masks = [torch.tensor([[[0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]), torch.ones(2, 2, 1)]
    masks[1][0, 0] = 0
    positions, padded, slots = positions_from_masks(masks)
    assert slots.tolist() == [2, 2]
    assert positions.tolist() == [[1, 3, 5, 6], [0, 2, 4, 5]]
    assert padded.tolist() == [[False, True, False, True], [False, False, False, False]]
