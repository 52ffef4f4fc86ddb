"""What all selectors have in common, and what each looks for."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.models.autogaze import AutoGazeConfig
from autogaze.selectors import SELECTORS
from autogaze.selectors.coverage import centre, coarse_first, spread, uniform
from autogaze.selectors.energy import band_strength, frame_difference, laplacian
from autogaze.selectors.ordered import OrderedSelector, check_request
from autogaze.selectors.random_order import random_order

GRID = AutoGazeConfig().architecture().grid
PATCHES = GRID.patches_per_frame
TINY = PatchGrid((8, 16, 32), 4)
"""Patches 0 to 3, 4 to 19 and 20 to 83."""
FREE = sorted(SELECTORS.keys() - {"greedy"})
"""Selectors that need no model."""


def noise(videos: int = 2, frames: int = 3, size: int = 224) -> Tensor:
    return torch.randn(videos, frames, 3, size, size, generator=torch.Generator().manual_seed(1))


def flat(frames: int) -> Tensor:
    return torch.zeros(1, frames, 3, 32, 32)


def scale_of(patches: Tensor, grid: PatchGrid) -> list[int]:
    return [sum(int(p) >= offset for offset in grid.offsets) - 1 for p in patches.flatten()]


@pytest.mark.parametrize("name", FREE)
def test_a_selector_keeps_distinct_patches_and_fills_every_budget(name: str) -> None:
    budgets = [1, 40, PATCHES]
    gaze = SELECTORS[name](0)(noise(), budgets)
    assert gaze.num_gazing_each_frame.tolist() == budgets
    assert not gaze.if_padded_gazing.any()
    assert gaze.gazes_each_frame().tolist() == [budgets, budgets]
    for video in gaze.gazing_pos:
        for t, positions in enumerate(video.split(budgets)):
            assert len(positions.unique()) == budgets[t]
            assert (positions // PATCHES == t).all()


@pytest.mark.parametrize("name", FREE)
def test_a_video_gets_the_patches_it_would_get_alone_and_gets_them_again(name: str) -> None:
    video, budgets = noise(), [5, 20, 20]
    together = SELECTORS[name](3)(video, budgets)
    alone = [SELECTORS[name](3)(clip[None], budgets) for clip in video]
    assert [together.patch_hash(0), together.patch_hash(1)] == [gaze.patch_hash() for gaze in alone]


@pytest.mark.parametrize("name", FREE)
def test_patches_are_of_the_grid_that_is_asked_for(name: str) -> None:
    gaze = SELECTORS[name](0, TINY)(noise(1, 2, 32), [84, 84])
    assert gaze.scales == list(TINY.scales)
    assert sorted(gaze.gazing_pos[0].tolist()) == list(range(2 * 84))


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_requests_that_do_not_fit_are_refused(name: str) -> None:
    selector, video = SELECTORS[name](0), noise(1)
    with pytest.raises(InputError, match="2 budgets for 3 frames: give one for each"):
        selector(video, [5, 5])
    with pytest.raises(InputError, match="266 patches is out of reach: a frame has 265"):
        selector(video, [5, 5, 266])
    with pytest.raises(InputError, match="0 patches is out of reach"):
        selector(video, [0, 5, 5])
    with pytest.raises(InputError, match=r"video of shape \(3, 3, 224, 224\)"):
        selector(video[0], [5, 5, 5])


@pytest.mark.parametrize("budgets", [[5.0, 5.0, 5.5], 5, None, torch.tensor([5.0, 5.0, 5.0])])
def test_budgets_that_are_no_whole_numbers_are_refused(budgets: Any) -> None:
    with pytest.raises(InputError, match=r"budgets .* are not whole numbers, one for each frame"):
        check_request(noise(1, size=32), budgets, TINY)


def test_random_patches_differ_between_videos_frames_and_seeds_and_favour_no_patch() -> None:
    video = noise(40, 5, 32)
    order = random_order(video, TINY, seed=0)
    assert len({tuple(frame) for frame in order.flatten(0, 1).tolist()}) == 200
    assert not torch.equal(order, random_order(video, TINY, seed=1))
    first = order[:, :, :42].flatten().bincount(minlength=84)
    assert first.float().mean() == 100
    assert (first - 100).abs().max() < 40  # six standard deviations of 200 fair coins


def test_random_patches_follow_from_8_bit_pixels_and_so_not_from_rounding() -> None:
    video = noise(1, 2, 32)
    assert torch.equal(random_order(video, TINY, 0), random_order(video + 1e-6, TINY, 0))


@given(st.integers(1, 14), st.integers(2, 8))
@settings(deadline=None)
def test_any_run_of_a_spread_leaves_no_quarter_of_the_square_out(half: int, runs: int) -> None:
    side = 2 * half
    walk = spread(side)
    assert sorted(walk) == list(range(side * side))
    run = walk[: max(8, side * side // runs)]
    quarters = {(cell // side // half, cell % side // half) for cell in run}
    assert len(quarters) == 4


def test_coarse_scales_are_used_up_before_finer_ones() -> None:
    order = coarse_first(flat(1), (30,), TINY)
    assert scale_of(order, TINY) == [0] * 4 + [1] * 16 + [2] * 64


def test_a_scale_kept_in_part_is_continued_in_the_next_frame() -> None:
    order = coarse_first(flat(4), (36,) * 4, TINY)
    fine = order[0, :, 20:36].flatten()
    assert sorted(fine.tolist()) == list(range(20, 84))


def test_uniform_keeps_the_finest_scale_that_fits_whole_and_spreads_the_rest_over_the_next() -> None:
    order = uniform(flat(5), (2, 4, 19, 20, 84), TINY)[0]
    assert scale_of(order[0, :2], TINY) == [0, 0]
    assert scale_of(order[1, :4], TINY) == [0] * 4
    assert scale_of(order[2, :19], TINY) == [1] * 16 + [2] * 3
    assert scale_of(order[3, :20], TINY) == [1] * 16 + [2] * 4
    assert scale_of(order[4], TINY) == [2] * 64 + [1] * 16 + [0] * 4


def test_the_centre_prior_is_a_fovea_fine_in_the_middle_and_coarse_outwards() -> None:
    order = centre(flat(1), (84,), TINY)[0, 0]
    assert sorted(order[:12].tolist()) == [0, 1, 2, 3, 9, 10, 13, 14, 47, 48, 55, 56]
    assert order[-4:].tolist() == [20, 27, 76, 83]


def test_detail_is_looked_at_where_it_is_and_at_the_scale_it_has() -> None:
    video = flat(1)
    video[..., 8:12, 20:24] = torch.tensor([[1.0, -1.0] * 2, [-1.0, 1.0] * 2] * 2)
    assert laplacian(video, (1,), TINY)[0, 0, 0] == 20 + 2 * 8 + 5


def test_large_flat_parts_are_looked_at_coarsely() -> None:
    video = flat(1)
    video[..., :16, 16:] = 1.0
    assert laplacian(video, (1,), TINY)[0, 0, 0] == 1


def test_what_explains_most_energy_comes_first_whatever_its_scale() -> None:
    video = noise(1, 1, 32)
    energy = band_strength(video - video.mean(dim=(-2, -1), keepdim=True), TINY, torch.square)[0, 0]
    order = laplacian(video, (1,), TINY)[0, 0]
    assert set(scale_of(order[:30], TINY)) == {0, 1, 2}
    assert (energy[order].diff() <= 0).all()


def test_change_is_looked_at_and_what_stands_still_is_not() -> None:
    video = noise(1, 1, 32).repeat(1, 2, 1, 1, 1)
    video[0, 1, :, 24:28, 4:8] += torch.tensor([[3.0, -3.0] * 2, [-3.0, 3.0] * 2] * 2)
    assert frame_difference(video, (1, 1), TINY)[0, 1, 0] == 20 + 6 * 8 + 1


def test_the_first_frame_is_looked_at_for_its_detail_and_not_for_its_difference_from_black() -> None:
    video = noise(1, 2, 32)
    first = frame_difference(video, (9, 9), TINY)[:, 0]
    assert torch.equal(first, frame_difference(video + 50, (9, 9), TINY)[:, 0])
    video[0, 0] = 50
    video[0, 0, :, 8:12, 20:24] = torch.tensor([[51.0, 49.0] * 2, [49.0, 51.0] * 2] * 2)
    assert frame_difference(video, (9, 9), TINY)[0, 0, 0] == 20 + 2 * 8 + 5


def test_a_frame_without_any_change_is_covered_evenly() -> None:
    still = noise(1, 1, 32).repeat(1, 3, 1, 1, 1)
    order = frame_difference(still, (20, 20, 20), TINY)
    assert torch.equal(order[:, 1:], coarse_first(still, (20, 20, 20), TINY)[:, 1:])


def test_selectors_take_half_precision() -> None:
    gaze = OrderedSelector(frame_difference, TINY)(noise(1, 2, 32).bfloat16(), [3, 3])
    assert gaze.gazes_each_frame().tolist() == [[3, 3]]
