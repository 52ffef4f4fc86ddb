"""Random selector: patches drawn by lot."""

import hashlib

import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid
from autogaze.video.preprocessing import unnormalize

_EVERY = 8
"""Pixels between those that tell videos apart."""


def random_order(video: Tensor, grid: PatchGrid, seed: int) -> Tensor:
    """Return (B, T, P) int64: every frame's patches in an order of its own, all orders equally likely.

    The draw follows from ``seed`` and the pixels of a video, so a video is given the same patches whatever
    batch it comes in, on any device.
    """
    frames = video.shape[1]
    shares = [
        torch.rand(frames, grid.patches_per_frame, generator=torch.Generator().manual_seed(number))
        for number in _fingerprints(video, seed)
    ]
    return torch.stack(shares).argsort(dim=-1).to(video.device)


def _fingerprints(video: Tensor, seed: int) -> list[int]:
    """Return a 63-bit number for each video, from 8-bit pixels: a device's rounding does not change those."""
    pixels = (unnormalize(video[..., ::_EVERY, ::_EVERY]) * 255).round().to("cpu", torch.uint8).numpy()
    salt = seed.to_bytes(8, "little", signed=True)
    digests = [hashlib.blake2b(clip.tobytes(), digest_size=8, key=salt).digest() for clip in pixels]
    return [int.from_bytes(digest, "little") >> 1 for digest in digests]
