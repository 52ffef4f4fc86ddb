"""Where patches lie, and codes for it."""

import torch

from autogaze.patches import PatchGrid
from autogaze.places import cosine_codes, cover

GRID = PatchGrid((32, 64, 112, 224), 16)


def test_the_cover_of_each_scale_is_the_frame() -> None:
    covered = cover(PatchGrid((32, 64, 112), 16))
    for first, count in ((0, 4), (4, 16), (20, 49)):
        torch.testing.assert_close(covered[first : first + count].sum(dim=0), torch.ones(7, 7))


def test_codes_have_one_length_and_agree_most_at_one_place() -> None:
    codes = cosine_codes(GRID, 96)
    torch.testing.assert_close(codes.square().mean(dim=1), torch.ones(265))
    for first, count in zip(GRID.offsets, GRID.counts, strict=True):
        of_scale = codes[first : first + count]
        assert torch.equal((of_scale @ of_scale.T).argmax(dim=1), torch.arange(count))


def test_a_coarse_patch_agrees_best_with_a_fine_one_inside_it() -> None:
    codes, inside = cosine_codes(GRID, 96), cover(GRID).flatten(1) > 0
    for patch in range(GRID.offsets[-1]):
        assert inside[patch, (codes[patch] @ codes[GRID.offsets[-1] :].T).argmax()]


def test_a_map_is_a_sum_of_codes() -> None:
    codes = cosine_codes(GRID, 196)[GRID.offsets[-1] :]
    weights = torch.rand(196, generator=torch.Generator().manual_seed(0))
    shown = (weights @ codes) @ codes.T / 196
    assert torch.corrcoef(torch.stack([shown, weights]))[0, 1] > 0.9
