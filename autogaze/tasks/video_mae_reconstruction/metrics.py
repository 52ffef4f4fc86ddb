"""Image quality of reconstructed frames, by scikit-image's definitions."""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

MOST_PSNR = 100.0
"""What equal frames count for in a mean, which their infinite PSNR would spoil; 8-bit pixels cannot tell so
much."""


def frame_metrics(original: Tensor, reconstruction: Tensor) -> list[dict[str, float]]:
    """Return ``mae``, ``mse``, ``psnr`` (dB) and ``ssim`` of each of (F, 3, H, W) frames with pixels in [0,
    1].

    PSNR is scikit-image's ``peak_signal_noise_ratio(data_range=1)``, infinite for equal frames; SSIM its
    ``structural_similarity(channel_axis=-1, data_range=1)``, whose window is 7x7 and uniform.
    """
    return [_metrics(*pair) for pair in zip(_pixels(original), _pixels(reconstruction), strict=True)]


def _pixels(frames: Tensor) -> NDArray[np.float32]:
    return frames.detach().float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()


def _metrics(original: NDArray[np.float32], reconstruction: NDArray[np.float32]) -> dict[str, float]:
    difference = original.astype(np.float64) - reconstruction
    mse = float(np.mean(difference**2))
    return {
        "mae": float(np.mean(np.abs(difference))),
        "mse": mse,
        "psnr": float("inf") if mse == 0 else -10 * float(np.log10(mse)),
        "ssim": float(structural_similarity(original, reconstruction, channel_axis=-1, data_range=1)),
    }
