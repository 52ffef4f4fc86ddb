"""Reconstruction losses: distance in pixels, and in the features of two frozen networks."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.video_mae import VideoMAE

_PIXEL_STATISTICS = {
    "dinov2_reg": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "siglip2": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of each network's own input, of pixels scaled to [0, 1]."""

_LAYERS = 4
"""Hidden states compared, counted from the last."""


def l1_loss(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return (...,): the mean absolute difference of (..., C, H, W) frames, in single precision."""
    return (reconstruction.float() - original.float()).abs().mean(dim=(-1, -2, -3))


def feature_loss(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Return (...,): the mean squared difference of (..., tokens, channels) features, in single precision."""
    return (reconstruction.float() - original.float()).square().mean(dim=(-1, -2))


def unnormalized(frames: Tensor, config: VideoMAEConfig) -> Tensor:
    """Return (..., C, H, W) pixels in [0, 255], single precision and unclamped, of normalised frames."""
    mean, std = (
        frames.new_tensor(x, dtype=torch.float32)[:, None, None]
        for x in (config.image_mean, config.image_std)
    )
    return (frames.float() * std + mean + 1) / config.rescale_factor


def frame_features(mae: VideoMAE, loss: str, frames: Tensor) -> Tensor:
    """Return (B, F, tokens, 4 * width) features of normalised (B, F, C, H, W) frames under the network of
    ``loss``.

    They are the last four hidden states side by side; class and register tokens are left out.
    """
    network: Any = mae.get_submodule(loss)
    mean, std = (
        torch.tensor(x, dtype=torch.float32, device=frames.device)[:, None, None]
        for x in _PIXEL_STATISTICS[loss]
    )
    pixels = (unnormalized(frames.flatten(0, 1), mae.config) / 255 - mean) / std
    dtype = next(network.parameters()).dtype
    hidden = network(pixels.to(dtype), output_hidden_states=True).hidden_states[-_LAYERS:]
    leading = 1 + network.config.num_register_tokens if loss == "dinov2_reg" else 0
    features = torch.cat([state[:, leading:] for state in hidden], dim=-1)
    return features.reshape(*frames.shape[:2], *features.shape[1:])


@torch.no_grad()
def target_features(mae: VideoMAE, frames: Tensor) -> dict[str, Tensor]:
    """Return the features of original (B, F, C, H, W) frames for every feature loss of ``mae``, by loss."""
    return {
        loss: frame_features(mae, loss, frames) for loss in mae.config.losses if loss in FEATURE_BACKBONES
    }


def reconstruction_loss(
    mae: VideoMAE, reconstruction: Tensor, original: Tensor, targets: Mapping[str, Tensor]
) -> Tensor:
    """Return (B, F): the weighted sum of the losses of (B, F, C, H, W) frames.

    ``targets`` is what :func:`target_features` gives for ``original``.
    """
    total = torch.zeros(reconstruction.shape[:2], device=reconstruction.device)
    for loss, weight in mae.config.losses.items():
        if loss == "l1":
            value = l1_loss(reconstruction, original)
        else:
            value = feature_loss(frame_features(mae, loss, reconstruction), targets[loss])
        total = total + weight * value
    return total
