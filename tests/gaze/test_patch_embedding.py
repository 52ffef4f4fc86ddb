"""Gazed patches are cut out as if every frame were resized and cut up whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import all_patches, embed_patches, gazed_pixels, position_tables

GRID = PatchGrid((8, 16, 32), 4)
VIDEO = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CONVOLUTION = torch.nn.Conv2d(3, 5, kernel_size=4, stride=4)


def convolved(video: Tensor, grid: PatchGrid) -> Tensor:
    """Every patch embedded, (B, T, patches per frame, width): resize, convolve, concatenate."""
    frames = video.flatten(0, 1)
    by_scale = [
        CONVOLUTION(F.interpolate(frames, size=(scale, scale), mode="bicubic")).flatten(2).transpose(1, 2)
        for scale in grid.scales
    ]
    return torch.cat(by_scale, dim=1).unflatten(0, video.shape[:2])


def embedded(video: Tensor, gaze: PackedGaze, grid: PatchGrid, max_frames: int | None = None) -> Tensor:
    return embed_patches(video, gaze, grid, CONVOLUTION.weight, CONVOLUTION.bias, max_frames)


@st.composite
def gazes(draw: st.DrawFn) -> PackedGaze:
    slots = draw(st.lists(st.integers(0, 5), min_size=3, max_size=3))
    total = 2 * sum(slots)
    patch = draw(st.lists(st.integers(0, GRID.patches_per_frame - 1), min_size=total, max_size=total))
    padded = draw(st.lists(st.booleans(), min_size=total, max_size=total))
    frame = torch.arange(3).repeat_interleave(torch.tensor(slots))
    positions = frame * GRID.patches_per_frame + torch.tensor(patch, dtype=torch.int64).view(2, -1)
    return PackedGaze.from_padded(
        positions, torch.tensor(padded, dtype=torch.bool).view(2, -1), slots, GRID.patches_per_frame
    )


@given(gazes(), st.sampled_from([None, 1, 2, 4, 6]))
@settings(deadline=None, max_examples=25)
def test_gazed_patches_are_embedded_as_by_a_convolution_over_whole_frames(
    gaze: PackedGaze, max_frames: int | None
) -> None:
    everything = convolved(VIDEO, GRID).flatten(0, 2)
    found = embedded(VIDEO, gaze, GRID, max_frames)
    torch.testing.assert_close(found, everything[gaze.places()], atol=1e-5, rtol=1e-5)


def test_all_patches_are_embedded_in_their_order() -> None:
    gaze = all_patches(2, 3, GRID, VIDEO.device)
    found = gaze.pad(embedded(VIDEO, gaze, GRID))
    torch.testing.assert_close(found, convolved(VIDEO, GRID).flatten(1, 2), atol=1e-5, rtol=1e-5)


def test_a_remainder_that_is_no_whole_patch_is_left_out() -> None:
    grid = PatchGrid((10, 30), 4)
    gaze = all_patches(2, 3, grid, VIDEO.device)
    assert gaze.num_vision_tokens_each_frame == 4 + 49
    found = gaze.pad(embedded(VIDEO, gaze, grid))
    torch.testing.assert_close(found, convolved(VIDEO, grid).flatten(1, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("patch", [0, 5, 20])
def test_frames_and_scales_without_a_gaze_are_never_made(patch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    resize = F.interpolate

    def recorded(frames: Tensor, size: tuple[int, int], **options: object) -> Tensor:
        made.append((len(frames), size))
        return resize(frames, size, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(F, "interpolate", recorded)
    frames = VIDEO.flatten(0, 1)
    gazed_pixels(frames, torch.tensor([1, 1, 4]), torch.tensor([patch] * 3), GRID)
    expected = {0: [(2, (8, 8))], 5: [(2, (16, 16))], 20: []}  # the last scale is the frames' own
    assert made == expected[patch]


def test_position_tables_keep_their_own_size_and_are_resized_to_others() -> None:
    table = torch.randn(16, 6)
    small, same = position_tables(table, (2, 4))
    torch.testing.assert_close(same, table)
    square = F.interpolate(table.T.view(1, 6, 4, 4), size=(2, 2), mode="bicubic")
    torch.testing.assert_close(small, square[0].flatten(1).T)
