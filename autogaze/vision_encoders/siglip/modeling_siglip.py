"""SigLIP's vision transformer on the gazed patches of a video; parameters are named as in transformers.

Tokens of all videos stand in one row, padding left out, so that every layer costs what was gazed at.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autogaze.attention import CachedLayout, attend_packed, require_backend
from autogaze.attention.packed import PackedLayout
from autogaze.checkpoints import load_strict, write_checkpoint
from autogaze.errors import InputError
from autogaze.gaze.output import KeyedOutput
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import all_patches, embed_patches, position_tables, read_gaze
from autogaze.stages import stage
from autogaze.vision_encoders.siglip.checkpoint import read_checkpoint
from autogaze.vision_encoders.siglip.configuration_siglip import ACTIVATIONS, SiglipVisionConfig


@dataclass(frozen=True, eq=False)
class SiglipVisionOutput(KeyedOutput):
    """What the encoder returns, readable by key and by attribute."""

    last_hidden_state: Tensor
    """(B, N, hidden_size) at the slots of the gaze, zeros at padded ones; (total, hidden_size) for a packed
    gaze."""
    pooler_output: Tensor | None
    """(B, hidden_size) from all gazed patches of each video; None for an encoder without a pooling head."""
    if_padded_gazing: Tensor | None
    """(B, N) bool: True where ``last_hidden_state`` holds nothing; None for a packed gaze."""


class Embeddings(nn.Module):
    """Patches and where they lie."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.grid, self.max_frames = config.grid, config.max_embed_batch_size
        width, size = config.hidden_size, config.patch_size
        self.patch_embedding = nn.Conv2d(config.num_channels, width, kernel_size=size, stride=size)
        self.position_embedding = nn.Embedding(config.table_places, width)

    def forward(self, video: Tensor, gaze: PackedGaze) -> Tensor:
        """Return (total, width) from a (B, T, C, H, W) video."""
        convolution, table = self.patch_embedding, self.position_embedding.weight
        patches = embed_patches(video, gaze, self.grid, convolution.weight, convolution.bias, self.max_frames)
        places = torch.cat(position_tables(table, self.grid.sides)).to(table.dtype)
        return patches + places[gaze.positions % self.grid.patches_per_frame]


class Attention(nn.Module):
    """Multi-head self-attention over frames."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (total, width), as ``x`` is."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (linear(x).unflatten(1, (self.heads, -1)) for linear in projections)
        y: Tensor = self.out_proj(attend_packed(query, key, value, layout, backend).flatten(1))
        return y


class MLP(nn.Module):
    """Two linear maps with a GELU between them."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.approximation = ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., width), as ``x`` is."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x), approximate=self.approximation))
        return y


class EncoderLayer(nn.Module):
    """Pre-norm attention and perceptron."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (total, width), as ``x`` is."""
        x = x + self.self_attn(self.layer_norm1(x), layout, backend)
        y: Tensor = x + self.mlp(self.layer_norm2(x))
        return y


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (total, width), as ``x`` is."""
        for layer in self.layers:
            x = layer(x, layout, backend)
        return x


class ProbeAttention(nn.Module):
    """Attention of one query a video over all its tokens; parameters as in ``nn.MultiheadAttention``."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, probe: Tensor, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (B, width) from the probe (1, width) and the tokens (total, width).

        A video without tokens gets the output projection of zeros.
        """
        width = probe.shape[-1]
        query = F.linear(probe, self.in_proj_weight[:width], self.in_proj_bias[:width])
        keys_values = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
        look = require_backend(backend, x.device, x.dtype).attend_cached
        pooled = []
        for run in layout.split_runs(keys_values.unflatten(1, (2, self.heads, -1))):
            keys, values = run.permute(2, 0, 3, 1, 4)  # each (videos, heads, tokens, head_dim)
            queries = query.view(1, self.heads, 1, -1).expand(len(keys), -1, -1, -1)
            everything = CachedLayout((keys.shape[2],) * len(keys))
            pooled.append(look(queries, keys, values, everything, keys.shape[3] ** -0.5).flatten(1))
        y: Tensor = self.out_proj(torch.cat(pooled))
        return y


class PoolingHead(nn.Module):
    """One vector for a whole video: a learned probe looks at its tokens."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        self.attention = ProbeAttention(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (B, width) from (total, width)."""
        pooled = self.attention(self.probe[0], x, layout, backend)
        y: Tensor = pooled + self.mlp(self.layernorm(pooled))
        return y


class VisionTransformer(nn.Module):
    """From gazed patches to one vector for each, and one for each video."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = PoolingHead(config) if config.vision_use_head else None

    def forward(self, video: Tensor, gaze: PackedGaze, backend: str) -> tuple[Tensor, Tensor | None]:
        """Return (total, width), and (B, width) where there is a pooling head."""
        layout = gaze.layout(self.config.attn_type, self.config.frame_independent_encoding)
        with stage("encode.embed"):
            x = self.embeddings(video, gaze)
        with stage("encode.layers"):
            x = self.post_layernorm(self.encoder(x, layout, backend))
        with stage("encode.pool"):
            return x, None if self.head is None else self.head(x, layout, backend)


class SiglipVisionModel(nn.Module):
    """Encodes the gazed patches of a video, and only those.

    ``attn_implementation`` names an attention backend (:mod:`autogaze.attention`) and may be changed at any
    time.
    """

    def __init__(self, config: SiglipVisionConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.attn_implementation = attn_implementation
        self.vision_model = VisionTransformer(config)

    def forward(
        self, video: Tensor, gazing_info: Mapping[str, Any] | PackedGaze | None = None
    ) -> SiglipVisionOutput:
        """Encode a (B, T, C, H, W) video, normalised as SigLIP's image processor does it.

        Frames of any size are resized to each scale. ``gazing_info`` is what a gaze model returned for the
        scales of this encoder, or its packed form; None looks at all patches. Frames may be without a gaze.

        Raises ``InputError`` for a video or a gaze that does not fit the model or each other.
        """
        self._check(video)
        grid = self.config.grid
        if gazing_info is None:
            gaze = all_patches(video.shape[0], video.shape[1], grid, video.device)
        else:
            gaze = read_gaze(gazing_info, video, grid, "encoder")
        rows, pooled = self.vision_model(video, gaze, self.attn_implementation)
        if isinstance(gazing_info, PackedGaze):
            return SiglipVisionOutput(rows, pooled, None)
        return SiglipVisionOutput(gaze.pad(rows), pooled, gaze.if_padded_gazing)

    def _check(self, video: Tensor) -> None:
        channels = self.config.num_channels
        if (
            video.dim() != 5
            or video.shape[2] != channels
            or 0 in video.shape
            or not video.is_floating_point()
        ):
            raise InputError(
                f"video of shape {tuple(video.shape)} and type {video.dtype} must be a non-empty, normalised "
                f"float video of shape (batch, frames, {channels}, height, width)"
            )

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        revision: str | None = None,
        attn_implementation: str = "sdpa",
        **settings: Any,
    ) -> "SiglipVisionModel":
        """Load an encoder, ready for evaluation.

        ``source`` is a folder or hub id of a SigLIP or fixed-resolution SigLIP 2 checkpoint, of the vision
        model alone or beside its text model, which is left out. ``settings`` replaces keys of the
        configuration, such as ``scales="32+64+112+224"`` or ``attn_type="causal"``.

        Raises ``InputError`` for a source that cannot be found, read, or does not fit to the last key.
        """
        config, state, origin = read_checkpoint(source, revision, settings)
        model = cls(config, attn_implementation)
        load_strict(model, state, origin)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors``, which :meth:`from_pretrained` reads."""
        write_checkpoint(folder, self.config.to_dict(), self)
