"""VideoMAE: an encoder that sees gazed patches only, and a decoder that paints the frames from them.

A masked autoencoder (He et al., 2022) made causal over frames and multi-scale, as released with AutoGaze;
parameter names are the released checkpoint's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze.attention import FrameLayout
from autogaze.patches import PatchGrid
from autogaze.stages import stage
from autogaze.tasks.video_mae_reconstruction.backbones import build_backbone
from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.vit import Block, multi_scale_patches, take_rows


@dataclass(frozen=True, eq=False)
class Gazes:
    """The gazed patches of a batch of videos, frame by frame."""

    positions: Tensor
    """(B, N) int64: ``frame * patches_per_frame + patch index``; at padded slots any index of the clip."""
    layout: FrameLayout
    """Slots of each frame and which are padded; with a class token."""

    def packed(self) -> "Gazes":
        """Return the same gazes in as few slots as the batch allows: padding costs as much as a gaze."""
        layout, slots = self.layout.packed()
        return Gazes(self.positions if slots is None else self.positions.gather(1, slots), layout)


class PatchEmbeddings(nn.Module):
    """The patch convolution, applied as a linear map to patches already cut out."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, kernel_size=size, stride=size)

    def forward(self, patches: Tensor) -> Tensor:
        """Map (B, N, channels * patch_size ** 2) to (B, N, hidden_size)."""
        return F.linear(
            patches.to(self.projection.weight.dtype), self.projection.weight.flatten(1), self.projection.bias
        )


class Embeddings(nn.Module):
    """Patches, where they lie, their scale and their time."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        width, self.grid = config.hidden_size, config.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + self.grid.counts[-1], width))
        self.scale_embed = (
            nn.Parameter(torch.zeros(len(self.grid.scales), width)) if config.scale_embed else None
        )
        self.time_embed = (
            nn.Parameter(torch.zeros(config.max_num_frames, width)) if config.time_embed else None
        )
        self.patch_embeddings = PatchEmbeddings(config)

    def forward(self, video: Tensor, positions: Tensor) -> Tensor:
        """Return (B, 1 + N, width): the class token, then the patches of ``video`` at ``positions``."""
        pixels = multi_scale_patches(video.float(), self.grid.scales, self.grid.patch_size)
        tokens: Tensor = self.patch_embeddings(take_rows(pixels, positions))
        tokens = tokens + self._places()[positions % self.grid.patches_per_frame]
        if self.time_embed is not None:
            tokens = tokens + self.time_embed[positions // self.grid.patches_per_frame]
        class_token = self.cls_token + self.position_embeddings[:, :1]
        return torch.cat([class_token.expand(len(tokens), -1, -1), tokens], dim=1)

    def _places(self) -> Tensor:
        """(patches_per_frame, width): the position table resized to each scale's grid, plus the scale."""
        side = self.grid.sides[-1]
        table = self.position_embeddings[0, 1:].T.reshape(1, -1, side, side).float()
        resized = [
            F.interpolate(table, size=(s, s), mode="bicubic", align_corners=False).flatten(2)[0].T
            for s in self.grid.sides
        ]
        return _with_scales(resized, self.scale_embed, self.position_embeddings.dtype)


class Encoder(nn.Module):
    """The stack of blocks."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        width, heads, hidden = config.hidden_size, config.num_attention_heads, config.intermediate_size
        self.layer = nn.ModuleList(
            Block(width, heads, hidden, config.layer_norm_eps) for _ in range(config.num_hidden_layers)
        )

    def forward(self, x: Tensor, layout: FrameLayout, backend: str) -> Tensor:
        """Return (batch, length, width), as ``x`` is."""
        for block in self.layer:
            x = block(x, layout, backend)
        return x


class VideoMAEEncoder(nn.Module):
    """From pixels to one vector for each gazed patch."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, video: Tensor, gazes: Gazes, backend: str) -> Tensor:
        """Return (B, 1 + N, hidden_size) for a (B, T, C, H, W) video, the class token first."""
        tokens = self.embeddings(video, gazes.positions)
        encoded: Tensor = self.layernorm(self.encoder(tokens, gazes.layout, backend))
        return encoded


class VideoMAEDecoder(nn.Module):
    """From the encoded patches to the pixels of whole frames."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        width, self.grid = config.decoder_hidden_size, config.grid
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid.counts[-1], width))
        self.decoder_scale_embed = (
            nn.Parameter(torch.zeros(len(self.grid.scales), width)) if config.scale_embed else None
        )
        self.time_embed = (
            nn.Parameter(torch.zeros(config.max_num_frames, width)) if config.time_embed else None
        )
        self.decoder_embed = nn.Linear(config.hidden_size, width)
        heads, hidden = config.decoder_num_attention_heads, config.decoder_intermediate_size
        self.decoder_layers = nn.ModuleList(
            Block(width, heads, hidden, config.layer_norm_eps)
            for _ in range(config.decoder_num_hidden_layers)
        )
        self.decoder_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder_pred = nn.Linear(width, config.num_channels * config.patch_size**2)

    def forward(self, encoded: Tensor, gazes: Gazes, frames: list[int], backend: str) -> Tensor:
        """Return (B, len(frames), finest patches, values of a patch) from (B, 1 + N, hidden_size)."""
        embedded = self.decoder_embed(encoded)
        places = self._fill_places(embedded[:, 1:], gazes)
        index, layout = _decoded_slots(gazes, frames, self.grid)
        class_token = embedded[:, :1] + self.decoder_pos_embed[:, :1]
        x = torch.cat([class_token, places if index is None else take_rows(places, index)], dim=1)
        for block in self.decoder_layers:
            x = block(x, layout, backend)
        # Norm and prediction work row by row, so only the rows that become pixels go through them.
        finest = [
            x[:, end - self.grid.counts[-1] : end] for end in (layout.spans[frame][1] for frame in frames)
        ]
        pixels: Tensor = self.decoder_pred(self.decoder_norm(torch.stack(finest, dim=1)))
        return pixels

    def _fill_places(self, tokens: Tensor, gazes: Gazes) -> Tensor:
        """Return (B, T * patches_per_frame, width): tokens at their places, mask tokens elsewhere."""
        frames = len(gazes.layout.tokens_per_frame)
        count = frames * self.grid.patches_per_frame
        # Padded tokens go to one place too many, which is cut off again.
        target = gazes.positions
        if gazes.layout.padding is not None:
            target = target.masked_fill(gazes.layout.padding, count)
        blank = self.mask_token.to(tokens.dtype).expand(len(tokens), count + 1, -1)
        places = blank.scatter(1, target[..., None].expand_as(tokens), tokens)[:, :count]
        places = places.reshape(len(tokens), frames, self.grid.patches_per_frame, -1) + self._places()
        if self.time_embed is not None:
            places = places + self.time_embed[:frames, None]
        return places.flatten(1, 2)

    def _places(self) -> Tensor:
        """(patches_per_frame, width): the position table resized to each scale, plus the scale.

        The table is resized as a strip, in one dimension and not as a grid: that is how the released weights
        were trained.
        """
        table = (
            self.decoder_pos_embed[:, 1:].transpose(1, 2)[:, :, None].float()
        )  # (1, width, 1, finest patches)
        resized = [
            F.interpolate(table, size=(1, count), mode="bicubic", align_corners=False)[0, :, 0].T
            for count in self.grid.counts
        ]
        return _with_scales(resized, self.decoder_scale_embed, self.decoder_pos_embed.dtype)


class VideoMAE(nn.Module):
    """Encoder, decoder, and the frozen networks of the feature losses where the configuration asks for them.

    ``attn_implementation`` names the attention backend and may be changed at any time.
    """

    def __init__(self, config: VideoMAEConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.attn_implementation = attn_implementation
        self.vit = VideoMAEEncoder(config)
        self.decoder = VideoMAEDecoder(config)
        for loss in config.losses:
            if loss in FEATURE_BACKBONES:
                self.add_module(loss, build_backbone(loss, config.backbone_architecture(loss)))

    def forward(self, video: Tensor, gazes: Gazes, frames: list[int]) -> Tensor:
        """Return (B, len(frames), C, H, W): frames of a normalised (B, T, C, H, W) video, reconstructed."""
        gazes = gazes.packed()
        with stage("reconstruct.encode"):
            encoded = self.vit(video, gazes, self.attn_implementation)
        with stage("reconstruct.decode"):
            patches = self.decoder(encoded, gazes, frames, self.attn_implementation)
            return self._unpatchify(patches)

    def _unpatchify(self, patches: Tensor) -> Tensor:
        side, size = self.config.grid.sides[-1], self.config.patch_size
        cells = patches.reshape(*patches.shape[:2], side, side, size, size, self.config.num_channels)
        # (B, F, rows, columns, y, x, C) to (B, F, C, rows, y, columns, x)
        return cells.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def _with_scales(by_scale: list[Tensor], scale_embed: Tensor | None, dtype: torch.dtype) -> Tensor:
    if scale_embed is not None:
        by_scale = [table + embed for table, embed in zip(by_scale, scale_embed, strict=True)]
    return torch.cat(by_scale).to(dtype)


def _decoded_slots(gazes: Gazes, frames: list[int], grid: PatchGrid) -> tuple[Tensor | None, FrameLayout]:
    """Return which places are decoded, (B, M) int64 or None for all in order, and their layout.

    A frame to be reconstructed has all its places decoded, any other only its gazed ones.
    """
    slots, padding = gazes.layout.tokens_per_frame, gazes.layout.padding
    per_frame, chosen = grid.patches_per_frame, set(frames)
    tokens = tuple(per_frame if frame in chosen else count for frame, count in enumerate(slots))
    kind = gazes.layout.kind
    if len(chosen) == len(slots):
        return None, FrameLayout(tokens, kind=kind, class_token=True)
    positions = gazes.positions if padding is None else gazes.positions.masked_fill(padding, 0)
    whole = torch.arange(per_frame, device=positions.device).expand(len(positions), -1)
    seen = torch.zeros_like(whole, dtype=torch.bool)
    index = [
        whole + frame * per_frame if frame in chosen else gazed
        for frame, gazed in enumerate(torch.split(positions, list(slots), dim=1))
    ]
    if padding is None:
        return torch.cat(index, dim=1), FrameLayout(tokens, kind=kind, class_token=True)
    hidden = [
        seen if frame in chosen else padded
        for frame, padded in enumerate(torch.split(padding, list(slots), dim=1))
    ]
    return torch.cat(index, dim=1), FrameLayout(tokens, torch.cat(hidden, dim=1), kind=kind, class_token=True)
