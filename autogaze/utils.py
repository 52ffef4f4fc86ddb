"""Helpers of the released package by their released names, for code that was written on it."""

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from autogaze.errors import InputError

_TO_255 = 1 / 255


class UnNormalize:
    """Undo the normalisation of pictures: (..., channels, height, width) to pixels in [0, 1], clamped.

    Args:
        mean: of each channel.
        std: of each channel.
        rescale_factor: what an image processor multiplied pixels by. None, or 1 / 255, leaves it at the
            above; any other one means that they were brought to [-1, 1].
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], rescale_factor: float | None = None
    ) -> None:
        self.mean, self.std, self.rescale_factor = mean, std, rescale_factor

    def __call__(self, image: Tensor) -> Tensor:
        channels = image.shape[-3] if image.dim() >= 3 else 0
        if not channels or channels != len(self.mean) or channels != len(self.std):
            raise InputError(
                f"pictures have shape {list(image.shape)}; (..., {len(self.mean)}, height, width) is wanted, "
                "with a mean and a std for each channel"
            )
        mean, std = (image.new_tensor(list(values)).view(-1, 1, 1) for values in (self.mean, self.std))
        pixels = image * std + mean
        if self.rescale_factor is not None and abs(self.rescale_factor - _TO_255) > 1e-6:
            pixels = pixels / 2 + 0.5
        return pixels.clamp(0, 1)


def get_gazing_pos_from_gazing_mask(gazing_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Read gazes back from a (B, N) mask, which is not 0 where something was gazed at.

    Returns (B, K) int64 places in ascending order, -1 where a row has fewer than the fullest, and (B, K)
    bool, True there.
    """
    if gazing_mask.dim() != 2:
        raise InputError(f"the gazing mask has shape {list(gazing_mask.shape)}; (batch, places) is wanted")
    gazed = gazing_mask != 0
    counts = gazed.sum(dim=1)
    most = int(counts.max()) if len(counts) else 0
    places = (~gazed).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    padded = torch.arange(most, device=gazing_mask.device) >= counts[:, None]
    return places.masked_fill(padded, -1), padded


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside a ``DistributedDataParallel``; any other one as it is."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def move_inputs_to_cuda(inputs: dict[str, Any]) -> dict[str, Any]:
    """Move every tensor in a dict, and in dicts in it, to the current CUDA device, in place; return it."""
    if not torch.cuda.is_available():
        raise InputError("move_inputs_to_cuda finds no CUDA device: use tensor.to(device)")
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            inputs[name] = value.cuda()
        elif isinstance(value, dict):
            inputs[name] = move_inputs_to_cuda(value)
    return inputs


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch, on every device, and have cuDNN repeat itself."""
    random.seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)  # of processes started from here on
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
