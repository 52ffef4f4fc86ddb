"""The gaze model's eyes: a shallow convolutional trunk that sees each frame and the two before it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autogaze.errors import InputError, refuse_unknown
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.hooks import acts_as
from autogaze.models.autogaze.true_float32 import true_float32


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
        """Map (batch, channels, time, height, width) to the same; ``past`` are the frames just before, or
        None.

        A video starts with zero *feature* frames in front of it, as in the released model. Returns the
        features and the past of the next call.
        """
        if past is None:
            past = x.new_zeros(*x.shape[:2], self.past_frames, *x.shape[3:])
        # Channels lie last in memory throughout, which the convolution is fastest on.
        frames = torch.cat([_channels_last(past), _channels_last(x)], dim=1)
        past = frames[:, frames.shape[1] - self.past_frames :].permute(0, 4, 1, 2, 3)
        return F.relu(self.conv3d(frames.permute(0, 4, 1, 2, 3))), past


def _channels_last(x: Tensor) -> Tensor:
    """View (batch, channels, time, height, width) as (batch, time, height, width, channels)."""
    return x.permute(0, 2, 3, 4, 1)


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

    def forward(
        self,
        video: Tensor,
        use_cache: bool = False,
        past_conv_values: Sequence[Tensor] | None = None,
        **unknown: Any,
    ) -> tuple[Tensor, list[Tensor]]:
        """Map frames (batch, time, 3, size, size) to features (batch, channels, time, rows, columns).

        Pictures (batch, 3, size, size) are videos of one frame. With ``use_cache``, ``past_conv_values`` are
        what the previous call returned beside the features, one (batch, channels, frames, rows, columns) a
        block, to go on with the same video; without, they are not looked at, as in the released model.
        """
        refuse_unknown(type(self).forward, unknown)
        if video.dim() not in (4, 5) or video.shape[-3] != 3:
            raise InputError(
                f"the vision model was given a tensor of shape {list(video.shape)}; (batch, frames, 3, "
                "height, width) or (batch, 3, height, width) is wanted"
            )
        if video.dim() == 4:
            video = video[:, None]
        past: Sequence[Tensor | None] = [None] * len(self.blocks)
        if use_cache and past_conv_values is not None:
            past = past_conv_values
        if len(past) != len(self.blocks):
            raise InputError(
                f"past_conv_values holds {len(past)} tensors; one for each of {len(self.blocks)} blocks is "
                "wanted"
            )
        with true_float32():
            return self._features(video, past)

    def _features(self, video: Tensor, past: Sequence[Tensor | None]) -> tuple[Tensor, list[Tensor]]:
        patches = self._patches(video.flatten(0, 1))  # (batch * time, rows, columns, channels)
        x = self.norm(patches.flatten(1, 2))
        x = x.view(*video.shape[:2], *patches.shape[1:]).permute(0, 4, 1, 2, 3)
        new_past = []
        for block, block_past in zip(self.blocks, past):
            x, block_past = block(x, block_past)
            new_past.append(block_past)
        return self._projected(x), new_past

    def _patches(self, frames: Tensor) -> Tensor:
        """Return what ``temporal_conv`` makes of (frames, 3, size, size), channels last."""
        conv = self.temporal_conv
        if not acts_as(conv, nn.Conv3d):
            return _channels_last(conv(frames[:, :, None])).squeeze(1)
        patches = F.conv2d(frames, conv.weight.squeeze(2), conv.bias, stride=conv.stride[1:])
        return patches.permute(0, 2, 3, 1)

    def _projected(self, x: Tensor) -> Tensor:
        projection = self.out_proj
        if not acts_as(projection, nn.Conv3d):
            features: Tensor = projection(x)
            return features
        return F.linear(_channels_last(x), projection.weight.flatten(1), projection.bias).permute(
            0, 4, 1, 2, 3
        )


class Connector(nn.Module):
    """Adds a learned position to every vision token of a frame."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(arch.vision_tokens, arch.width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (batch, time, tokens, channels) to the same."""
        return tokens + self.pos_embed
