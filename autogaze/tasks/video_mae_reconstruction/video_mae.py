"""VideoMAE: an encoder that sees gazed patches only, and a decoder that paints the frames from them.

A masked autoencoder (He et al., 2022) made causal over frames and multi-scale, as released with AutoGaze;
parameter names are the released checkpoint's.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze.attention import Kind
from autogaze.attention.packed import PackedLayout
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import embed_patches, position_tables
from autogaze.stages import stage
from autogaze.tasks.video_mae_reconstruction.backbones import build_backbone, check_attention_mode
from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.vit import Block


class PatchEmbeddings(nn.Module):
    """The patch convolution, applied to the gazed patches only."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, kernel_size=size, stride=size)

    def forward(self, video: Tensor, gaze: PackedGaze, grid: PatchGrid) -> Tensor:
        """Map the gazed patches of a (B, T, C, H, W) video to (total, hidden_size)."""
        return embed_patches(video, gaze, grid, self.projection.weight, self.projection.bias)


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

    def forward(self, video: Tensor, gaze: PackedGaze, layout: PackedLayout) -> Tensor:
        """Return (B + total, width): for each video the class token, then its gazed patches."""
        tokens: Tensor = self.patch_embeddings(video, gaze, self.grid)
        tokens = tokens + self._places()[gaze.positions % self.grid.patches_per_frame]
        if self.time_embed is not None:
            tokens = tokens + self.time_embed[gaze.positions // self.grid.patches_per_frame]
        return layout.with_class_token(self.cls_token[0] + self.position_embeddings[0, :1], tokens)

    def _places(self) -> Tensor:
        """(patches_per_frame, width): the position table resized to each scale's grid, plus the scale."""
        resized = position_tables(self.position_embeddings[0, 1:], self.grid.sides)
        return _with_scales(resized, self.scale_embed, self.position_embeddings.dtype)


class Encoder(nn.Module):
    """The stack of blocks."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        width, heads, hidden = config.hidden_size, config.num_attention_heads, config.intermediate_size
        self.layer = nn.ModuleList(
            Block(width, heads, hidden, config.layer_norm_eps) for _ in range(config.num_hidden_layers)
        )

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (total, width), as ``x`` is."""
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

    def forward(self, video: Tensor, gaze: PackedGaze, layout: PackedLayout, backend: str) -> Tensor:
        """Return (B + total, hidden_size) for a (B, T, C, H, W) video, each video's class token first."""
        tokens = self.embeddings(video, gaze, layout)
        encoded: Tensor = self.layernorm(self.encoder(tokens, layout, backend))
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

    def forward(
        self, encoded: Tensor, gaze: PackedGaze, layout: PackedLayout, frames: list[int], backend: str
    ) -> Tensor:
        """Return (B, len(frames), finest patches, values of a patch) from (B + total, hidden_size).

        ``layout`` is that of ``encoded``.
        """
        class_tokens, tokens = layout.without_class_token(self.decoder_embed(encoded))
        places = self._fill_places(tokens, gaze)
        index, layout = _decoded_places(gaze, frames, self.grid, layout.kind)
        x = layout.with_class_token(
            class_tokens + self.decoder_pos_embed[0, :1], places if index is None else places[index]
        )
        for block in self.decoder_layers:
            x = block(x, layout, backend)
        # Norm and prediction work row by row, so only the rows that become pixels go through them.
        finest = x[_finest_rows(layout, frames, self.grid).to(x.device)]
        pixels: Tensor = self.decoder_pred(self.decoder_norm(finest))
        return pixels

    def _fill_places(self, tokens: Tensor, gaze: PackedGaze) -> Tensor:
        """Return (B * T * patches_per_frame, width): tokens at their places, mask tokens elsewhere."""
        shape = (gaze.batch, gaze.frames, self.grid.patches_per_frame)
        blank = self.mask_token[0].to(tokens.dtype).expand(math.prod(shape), -1)
        places = blank.index_copy(0, gaze.places(), tokens).view(*shape, -1) + self.places()
        if self.time_embed is not None:
            places = places + self.time_embed[: gaze.frames, None]
        return places.flatten(0, 2)

    def places(self) -> Tensor:
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

    ``attn_implementation`` names the attention backend and may be changed at any time; ``attn_mode`` is the
    attention of the feature losses' networks, which are transformers' own.
    """

    def __init__(
        self, config: VideoMAEConfig, attn_implementation: str = "sdpa", attn_mode: str | None = None
    ) -> None:
        super().__init__()
        check_attention_mode(attn_mode)
        self.config = config
        self.attn_implementation = attn_implementation
        self.vit = VideoMAEEncoder(config)
        self.decoder = VideoMAEDecoder(config)
        self.awaited: Sequence[Any] = ()
        """Parts whose published weights are fetched when they are first needed
        (:mod:`autogaze.tasks.video_mae_reconstruction.published`)."""
        for loss in config.losses:
            if loss in FEATURE_BACKBONES:
                network = build_backbone(loss, config.backbone_architecture(loss), attn_mode)
                self.add_module(loss, network)

    def reconstruct(self, video: Tensor, gaze: PackedGaze, frames: list[int]) -> Tensor:
        """Return (B, len(frames), C, H, W): frames of a normalised (B, T, C, H, W) video, reconstructed."""
        kind: Kind = "block_causal" if self.config.causal else "bidirectional"
        layout = gaze.layout(kind, class_token=True)
        with stage("reconstruct.encode"):
            encoded = self.vit(video, gaze, layout, self.attn_implementation)
        with stage("reconstruct.decode"):
            patches = self.decoder(encoded, gaze, layout, frames, self.attn_implementation)
            return self.unpatchify(patches)

    def patchify(self, frames: Tensor) -> Tensor:
        """Cut (B, F, C, H, W) frames to (B, F, finest patches, values of a patch)."""
        side, size = self.config.grid.sides[-1], self.config.patch_size
        cells = frames.unflatten(4, (side, size)).unflatten(3, (side, size))  # (B, F, C, rows, y, columns, x)
        patches: Tensor = cells.permute(0, 1, 3, 5, 4, 6, 2).flatten(4).flatten(2, 3)
        return patches

    def unpatchify(self, patches: Tensor) -> Tensor:
        """Put (B, F, finest patches, values of a patch) together to (B, F, C, H, W) frames."""
        side, size = self.config.grid.sides[-1], self.config.patch_size
        cells = patches.reshape(*patches.shape[:2], side, side, size, size, self.config.num_channels)
        # (B, F, rows, columns, y, x, C) to (B, F, C, rows, y, columns, x)
        return cells.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def _with_scales(by_scale: list[Tensor], scale_embed: Tensor | None, dtype: torch.dtype) -> Tensor:
    if scale_embed is not None:
        by_scale = [table + embed for table, embed in zip(by_scale, scale_embed, strict=True)]
    return torch.cat(by_scale).to(dtype)


def _decoded_places(
    gaze: PackedGaze, frames: list[int], grid: PatchGrid, kind: Kind
) -> tuple[Tensor | None, PackedLayout]:
    """Return which places are decoded, (total,) int64 or None for all of all videos, and their layout.

    A frame to be reconstructed has all its places decoded, any other only its gazed ones.
    """
    per_frame, chosen = grid.patches_per_frame, set(frames)
    layout = PackedLayout(
        tuple(
            tuple(per_frame if frame in chosen else gazes for frame, gazes in enumerate(video))
            for video in gaze.gazes_each_frame
        ),
        kind,
        class_token=True,
    )
    if len(chosen) == gaze.frames:
        return None, layout
    places = gaze.places()
    whole = torch.arange(per_frame, device=places.device)
    gazed = places.split(list(chain.from_iterable(gaze.gazes_each_frame)))
    index = [
        whole + number * per_frame if number % gaze.frames in chosen else of_frame
        for number, of_frame in enumerate(gazed)
    ]
    return torch.cat(index), layout


def _finest_rows(layout: PackedLayout, frames: list[int], grid: PatchGrid) -> Tensor:
    """Return (B, len(frames), finest patches) int64, on the host: the rows that become pixels."""
    ends = []
    first = 0
    for tokens, length in zip(layout.tokens_each_frame, layout.lengths, strict=True):
        end_of_frame = list(accumulate(tokens, initial=first + int(layout.class_token)))[1:]
        ends.append([end_of_frame[frame] for frame in frames])
        first += length
    finest = grid.counts[-1]
    return torch.tensor(ends)[..., None] + torch.arange(-finest, 0)
