"""The transformer block of encoder and decoder, its parameters named as in transformers' ViTMAE."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze.attention import FrameLayout, attend


class QueryKeyValue(nn.Module):
    """The three projections into the attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)


class Dense(nn.Module):
    """One linear map; a module of its own because the checkpoints name it so."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense(x)
        return y


class Attention(nn.Module):
    """Multi-head self-attention over frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = QueryKeyValue(width)
        self.output = Dense(width, width)

    def forward(self, x: Tensor, layout: FrameLayout, backend: str) -> Tensor:
        """Return (batch, length, width), as ``x`` is."""
        projections = (self.attention.query, self.attention.key, self.attention.value)
        # each (batch, heads, length, head_dim)
        query, key, value = (
            linear(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2) for linear in projections
        )
        seen = attend(query, key, value, layout, backend)
        y: Tensor = self.output(seen.transpose(1, 2).flatten(2))
        return y


class Block(nn.Module):
    """Pre-norm attention and a two-layer perceptron with the exact GELU."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.intermediate = Dense(width, hidden)
        self.output = Dense(hidden, width)
        self.layernorm_before = nn.LayerNorm(width, eps=eps)
        self.layernorm_after = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, layout: FrameLayout, backend: str) -> Tensor:
        """Return (batch, length, width), as ``x`` is."""
        x = x + self.attention(self.layernorm_before(x), layout, backend)
        y: Tensor = x + self.output(F.gelu(self.intermediate(self.layernorm_after(x))))
        return y


def multi_scale_patches(video: Tensor, scales: tuple[int, ...], patch_size: int) -> Tensor:
    """Return (B, T * patches per frame, channels * patch_size ** 2): each frame of (B, T, C, H, W) at every
    scale.

    Frames are resized bicubically without antialiasing; values inside a patch are ordered as a convolution's
    weight.
    """
    frames = video.flatten(0, 1)
    by_scale = []
    for scale in scales:
        resized = frames
        if scale != frames.shape[-1]:
            resized = F.interpolate(frames, size=(scale, scale), mode="bicubic", align_corners=False)
        side = scale // patch_size
        cells = resized.reshape(*frames.shape[:2], side, patch_size, side, patch_size)
        by_scale.append(cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))  # (B * T, patches, values)
    patches = torch.cat(by_scale, dim=1)
    return patches.reshape(len(video), -1, patches.shape[-1])


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Return (B, N, width): for each video the rows of (B, M, width) that (B, N) ``index`` names."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[-1]))
