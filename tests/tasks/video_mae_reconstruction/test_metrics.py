"""Quality metrics are scikit-image's."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from autogaze.tasks.video_mae_reconstruction import frame_metrics


def test_metrics_are_those_of_scikit_image() -> None:
    stream = torch.Generator().manual_seed(0)
    original = torch.rand(2, 3, 32, 40, generator=stream)
    noise = 0.1 * torch.randn(2, 3, 32, 40, generator=stream)
    reconstruction = (original + noise).clamp(0, 1)
    for index, found in enumerate(frame_metrics(original, reconstruction)):
        a, b = (x[index].permute(1, 2, 0).numpy() for x in (original, reconstruction))
        assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), rel=1e-6)
        assert found["ssim"] == pytest.approx(
            structural_similarity(a, b, channel_axis=-1, data_range=1), rel=1e-6
        )
        assert found["mae"] == pytest.approx(float(np.abs(a - b).mean()), rel=1e-5)
        assert found["mse"] == pytest.approx(float(((a - b) ** 2).mean()), rel=1e-5)


def test_pixels_outside_the_range_are_clamped() -> None:
    original = torch.full((1, 3, 16, 16), 1.0)
    assert frame_metrics(original, original + 5) == frame_metrics(original, original)


def test_equal_frames_have_no_error() -> None:
    frames = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (found,) = frame_metrics(frames, frames)
    assert found["mae"] == found["mse"] == 0
    assert found["ssim"] == pytest.approx(1)
    assert math.isinf(found["psnr"])
