import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autogaze.errors import InputError
from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor
from autogaze.video.preprocessing import (
    PixelScale,
    center_crop,
    check_frames,
    fit_frames,
    normalize,
    resize_frames,
    shortest_edge_size,
    unnormalize,
)


def noise(frames, height, width, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (frames, height, width, 3), np.uint8)


def test_square_resizes_both_sides_as_pillow_does():
    frames = noise(2, 30, 50)
    fitted = fit_frames(frames, 24)
    expected = np.asarray(Image.fromarray(frames[1]).resize((24, 24), Image.Resampling.BILINEAR))
    assert fitted.shape == (2, 24, 24, 3)
    assert np.array_equal(fitted[1], expected)


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40)])
def test_center_crop_keeps_the_middle_of_the_longer_side(height, width):
    frames = np.zeros((1, height, width, 3), np.uint8)
    middle = (slice(None), slice(height // 2 - 20, height // 2 + 20), slice(width // 2 - 20, width // 2 + 20))
    frames[middle] = 200
    assert (fit_frames(frames, 40, "center_crop") == 200).all()


def test_a_square_picture_is_the_same_in_both_modes():
    frames = noise(2, 60, 60)
    assert np.array_equal(fit_frames(frames, 32), fit_frames(frames, 32, "center_crop"))


def test_a_picture_of_the_right_size_is_left_alone():
    frames = noise(2, 24, 24)
    assert np.array_equal(fit_frames(frames, 24), frames)


def test_fitting_and_normalising_is_what_the_image_processor_does():
    frames = noise(3, 448, 448)
    processed = AutoGazeImageProcessor.of_checkpoint(224)(frames, return_tensors="np").pixel_values[0]
    assert np.array_equal(normalize(fit_frames(frames, 224)), processed)


@given(height=st.integers(1, 400), width=st.integers(1, 400), size=st.integers(1, 300))
def test_the_shortest_edge_gets_its_size_and_the_other_side_the_aspect_ratio(height, width, size):
    new_height, new_width = shortest_edge_size(np.empty((1, height, width, 3), np.uint8), size)
    assert min(new_height, new_width) == size
    assert max(new_height, new_width) == int(size * max(height, width) / min(height, width))


@settings(max_examples=25, deadline=None)
@given(height=st.integers(8, 40), width=st.integers(8, 40), mode=st.sampled_from(["square", "center_crop"]))
def test_any_picture_becomes_a_square(height, width, mode):
    assert fit_frames(noise(1, height, width), 16, mode).shape == (1, 16, 16, 3)


def test_center_crop_leaves_the_odd_pixel_right_and_below():
    frames = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(1, 5, 5, 3)
    assert np.array_equal(center_crop(frames, 2, 2), frames[:, 1:3, 1:3])


def test_normalising_follows_the_formula():
    frames = noise(2, 7, 9)
    scale = PixelScale()
    expected = (frames / 127.5 - 1 - scale.image_mean) / scale.image_std
    normalized = normalize(frames)
    assert normalized.dtype == np.float32
    assert normalized.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(normalized, expected.transpose(0, 3, 1, 2), rtol=0, atol=2e-6)


def test_normalising_can_be_switched_off_in_parts():
    frames = noise(1, 4, 4)
    channels_first = frames.transpose(0, 3, 1, 2)
    untouched = PixelScale(do_rescale=False, do_normalize=False)
    assert np.array_equal(normalize(frames, untouched), channels_first)
    rescaled = PixelScale(rescale_factor=1 / 255, offset=False, do_normalize=False)
    np.testing.assert_allclose(normalize(frames, rescaled), channels_first / 255, rtol=1e-6)


@pytest.mark.parametrize(
    "scale",
    [
        PixelScale(),
        PixelScale(rescale_factor=1 / 255, offset=False),
        PixelScale(do_normalize=False),
        PixelScale(do_rescale=False),
    ],
)
def test_unnormalising_brings_every_pixel_value_back(scale):
    frames = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    pixels = unnormalize(torch.from_numpy(normalize(frames, scale)), scale)
    assert torch.equal((pixels * 255).round().to(torch.uint8), torch.from_numpy(frames).permute(0, 3, 1, 2))


def test_unnormalising_clamps_and_takes_any_precision():
    pixels = unnormalize(torch.full((2, 3, 3, 4, 4), 50.0, dtype=torch.bfloat16))
    assert pixels.dtype == torch.float32
    assert (pixels == 1).all()
    assert (unnormalize(torch.full((3, 4, 4), -50.0)) == 0).all()


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        ([[0]], "a list"),
        (np.zeros((4, 4, 3), np.uint8), r"shape \(4, 4, 3\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"shape \(2, 3, 4, 4\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"shape \(0, 4, 4, 3\)"),
        (np.zeros((1, 4, 4, 3), np.float32), "float32"),
    ],
)
def test_what_are_no_frames_is_refused(frames, found):
    with pytest.raises(InputError, match=found):
        check_frames(frames)


def test_impossible_sizes_and_modes_are_refused():
    frames = noise(1, 8, 8)
    with pytest.raises(InputError, match="frame size 0 must be at least 1"):
        fit_frames(frames, 0)
    with pytest.raises(InputError, match="unknown fit mode 'centre_crop': did you mean 'center_crop'"):
        fit_frames(frames, 4, "centre_crop")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="8 x 8 pixels are too small for a crop of 9 x 4"):
        center_crop(frames, 9, 4)


def test_statistics_that_fit_no_colour_picture_are_refused():
    with pytest.raises(InputError, match="image_mean has 1 values"):
        normalize(noise(1, 2, 2), PixelScale(image_mean=(0.5,)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="holds a zero"):
        normalize(noise(1, 2, 2), PixelScale(image_std=(0.5, 0, 0.5)))


def test_unnormalising_refuses_what_has_no_three_channels():
    with pytest.raises(InputError, match=r"shape \(4, 5, 5\)"):
        unnormalize(torch.zeros(4, 5, 5))


def test_resizing_can_use_another_filter():
    frames = noise(1, 20, 20)
    nearest = resize_frames(frames, 10, 10, Image.Resampling.NEAREST)
    assert np.array_equal(nearest[0], np.asarray(Image.fromarray(frames[0]).resize((10, 10), 0)))
