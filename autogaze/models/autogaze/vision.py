"""The gaze model's eyes: a shallow convolutional trunk that sees each frame and the two before it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autogaze.models.autogaze.configuration_autogaze import Architecture


class CausalConvBlock(nn.Module):
    """3-D convolution over (time, height, width) that never looks at later frames, then ReLU."""

    def __init__(self, width: int, temporal_kernel: int, spatial_kernel: int) -> None:
        super().__init__()
        self.past_frames = temporal_kernel - 1
        self.conv3d = nn.Conv3d(
            width,
            width,
            (temporal_kernel, spatial_kernel, spatial_kernel),
            padding=(0, spatial_kernel // 2, spatial_kernel // 2),
        )

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map (batch, time, height, width, channels) to the same; ``past`` are the frames just before, or
        None.

        A video starts with zero *feature* frames in front of it, as in the released model. Returns the
        features and the past of the next call.
        """
        if past is None:
            past = x.new_zeros(x.shape[0], self.past_frames, *x.shape[2:])
        x = torch.cat([past, x], dim=1)
        past = x[:, x.shape[1] - self.past_frames :]
        y = self.conv3d(x.permute(0, 4, 1, 2, 3))  # a channels-last view: no copy
        return F.relu(y).permute(0, 2, 3, 4, 1), past


class VisionTrunk(nn.Module):
    """Patch convolution, LayerNorm over channels, causal 3-D convolutions, linear projection."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        patch = (1, arch.patch_size, arch.patch_size)
        self.temporal_conv = nn.Conv3d(3, arch.vision_width, patch, stride=patch)
        self.norm = nn.LayerNorm(arch.vision_width)
        self.blocks = nn.ModuleList(
            CausalConvBlock(arch.vision_width, arch.trunk_temporal_kernel, arch.trunk_spatial_kernel)
            for _ in range(arch.vision_depth)
        )
        self.out_proj = nn.Conv3d(arch.vision_width, arch.vision_out_width, 1)

    def forward(self, video: Tensor, past: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Map frames (batch, time, 3, size, size) to tokens (batch, time, tokens of a frame, channels).

        ``past`` is what the previous call returned beside the tokens, to go on with the same video.
        """
        batch, time = video.shape[:2]
        conv = self.temporal_conv
        x = F.conv2d(video.flatten(0, 1), conv.weight.squeeze(2), conv.bias, stride=conv.stride[1:])
        x = self.norm(x.permute(0, 2, 3, 1))  # (batch * time, rows, columns, channels)
        x = x.unflatten(0, (batch, time))
        new_past = []
        for i, block in enumerate(self.blocks):
            x, block_past = block(x, None if past is None else past[i])
            new_past.append(block_past)
        projection = self.out_proj
        x = F.linear(x, projection.weight.flatten(1), projection.bias)
        return x.flatten(2, 3), new_past


class Connector(nn.Module):
    """Adds a learned position to every vision token of a frame."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(arch.vision_tokens, arch.width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.pos_embed
