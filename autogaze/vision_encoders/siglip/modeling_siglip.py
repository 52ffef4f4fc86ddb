"""SigLIP's vision transformer on the gazed patches of a video; parameters are named as in transformers.

Tokens of all videos stand in one row, padding left out, so that every layer costs what was gazed at.
"""

import copy
import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from autogaze.attention import CachedLayout, attend_packed, require_backend
from autogaze.attention.packed import PackedLayout
from autogaze.checkpoints import load_strict, write_checkpoint
from autogaze.errors import InputError, unknown_name
from autogaze.gaze.output import KeyedOutput
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import all_patches, embed_patches, position_tables, read_gaze
from autogaze.stages import stage
from autogaze.vision_encoders.siglip.checkpoint import read_checkpoint, split_settings
from autogaze.vision_encoders.siglip.configuration_siglip import (
    ACTIVATIONS,
    SiglipVisionConfig,
    read_siglip_config,
)


@dataclass(frozen=True, eq=False)
class SiglipVisionOutput(KeyedOutput):
    """What the encoder returns, readable by key, by attribute and, as transformers' outputs, by number."""

    last_hidden_state: Tensor
    """(B, N, hidden_size) at the slots of the gaze, zeros at padded ones; (total, hidden_size) for a packed
    gaze."""
    pooler_output: Tensor | None
    """(B, hidden_size) from all gazed patches of each video; None for an encoder without a pooling head."""
    if_padded_gazing: Tensor | None
    """(B, N) bool: True where ``last_hidden_state`` holds nothing; None for a packed gaze."""
    hidden_states: tuple[Tensor, ...] | None = None
    """What went into each layer and what came out of the last one, before the final norm, each shaped as
    ``last_hidden_state``; None unless asked for."""
    attentions: ClassVar[None] = None
    """Never there: no backend keeps attention weights."""

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return (name for name in super().__iter__() if name != "hidden_states" or self.hidden_states)

    def __len__(self) -> int:
        return len(list(self))

    def to_tuple(self) -> tuple[Any, ...]:
        """Return those of features, pooled features and hidden states that are there."""
        each = (self.last_hidden_state, self.pooler_output, self.hidden_states)
        return tuple(value for value in each if value is not None)


class Embeddings(nn.Module):
    """Patches and where they lie."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_dim, self.image_size, self.patch_size = (
            config.hidden_size,
            config.image_size,
            config.patch_size,
        )
        self.num_patches = self.num_positions = config.table_places
        """Entries of the position table: patches of a picture, not of a frame in all scales."""
        self.patch_embedding = nn.Conv2d(
            config.num_channels, self.embed_dim, kernel_size=self.patch_size, stride=self.patch_size
        )
        self.position_embedding = nn.Embedding(self.num_positions, self.embed_dim)

    def forward(self, video: Tensor, gaze: PackedGaze) -> Tensor:
        """Return (total, width) from a (B, T, C, H, W) video."""
        convolution, table, grid = self.patch_embedding, self.position_embedding.weight, self.config.grid
        patches = embed_patches(
            video, gaze, grid, convolution.weight, convolution.bias, self.config.max_embed_batch_size
        )
        places = torch.cat(position_tables(table, grid.sides)).to(table.dtype)
        return patches + places[gaze.positions % grid.patches_per_frame]


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

    def forward(
        self, x: Tensor, layout: PackedLayout, backend: str, states: list[Tensor] | None = None
    ) -> Tensor:
        """Return (total, width), as ``x`` is; ``states`` is given what goes into each layer, and the
        result."""
        for layer in self.layers:
            if states is not None:
                states.append(x)
            x = layer(x, layout, backend)
        if states is not None:
            states.append(x)
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

    def forward(
        self, video: Tensor, gaze: PackedGaze, backend: str, states: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return (total, width), and (B, width) where there is a pooling head; ``states`` as in
        :meth:`Encoder.forward`."""
        layout = gaze.layout(self.config.attn_type, self.config.frame_independent_encoding)
        with stage("encode.embed"):
            x = self.embeddings(video, gaze)
        with stage("encode.layers"):
            x = self.post_layernorm(self.encoder(x, layout, backend, states))
        with stage("encode.pool"):
            return x, None if self.head is None else self.head(x, layout, backend)


class SiglipVisionModel(nn.Module):
    """Encodes the gazed patches of a video, and only those.

    ``attn_implementation`` names an attention backend (:mod:`autogaze.attention`); it is the configuration's
    ``_attn_implementation`` and may be changed at any time.
    """

    config_class = SiglipVisionConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"

    def __init__(self, config: SiglipVisionConfig, attn_implementation: str | None = None) -> None:
        super().__init__()
        config.check()
        # A backend of its own is not to become that of other models of the same configuration.
        self.config = config if attn_implementation is None else copy.deepcopy(config)
        if attn_implementation is not None:
            self.attn_implementation = attn_implementation
        self.vision_model = VisionTransformer(self.config)

    @property
    def attn_implementation(self) -> str:
        return self.config._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, name: str) -> None:
        self.config._attn_implementation = name

    @property
    def scales(self) -> list[int]:
        """Side lengths of the scales in pixels, ascending."""
        return list(self.config.grid.scales)

    @property
    def device(self) -> torch.device:
        return self.vision_model.post_layernorm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.vision_model.post_layernorm.weight.dtype

    def get_input_embeddings(self) -> nn.Module:
        """Return the patch convolution."""
        return self.vision_model.embeddings.patch_embedding

    def forward(
        self,
        pixel_values: Tensor,
        gazing_info: Mapping[str, Any] | PackedGaze | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = True,
        **unknown: Any,
    ) -> SiglipVisionOutput:
        """Encode a (B, T, C, H, W) video, normalised as SigLIP's image processor does it.

        Frames of any size are resized to each scale. ``gazing_info`` is what a gaze model returned for the
        scales of this encoder, or its packed form; None looks at all patches. Frames may be without a gaze.
        ``output_hidden_states`` is the configuration's by default. Position tables are always resized to the
        scales, so ``interpolate_pos_encoding`` changes nothing, as in the released encoder.

        Raises ``InputError`` for a video or a gaze that does not fit the model or each other, for attention
        weights, which no backend keeps, and for arguments that there are not.
        """
        for name in unknown:
            raise unknown_name("argument of SiglipVisionModel", name, _ARGUMENTS)
        if self.config.output_attentions if output_attentions is None else output_attentions:
            raise InputError(
                "output_attentions is true, and no attention backend keeps its weights; leave it out, or ask "
                "for output_hidden_states"
            )
        self._check(pixel_values)
        grid = self.config.grid
        if gazing_info is None:
            gaze = all_patches(pixel_values.shape[0], pixel_values.shape[1], grid, pixel_values.device)
        else:
            gaze = read_gaze(gazing_info, pixel_values, grid, "encoder")
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        states: list[Tensor] | None = [] if wanted else None
        rows, pooled = self.vision_model(pixel_values, gaze, self.attn_implementation, states)
        if isinstance(gazing_info, PackedGaze):
            return SiglipVisionOutput(rows, pooled, None, None if states is None else tuple(states))
        padded = None if states is None else tuple(gaze.pad(state) for state in states)
        return SiglipVisionOutput(gaze.pad(rows), pooled, gaze.if_padded_gazing, padded)

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
        attn_implementation: str | None = None,
        **settings: Any,
    ) -> "SiglipVisionModel":
        """Load an encoder, ready for evaluation.

        ``source`` is a folder or hub id of a SigLIP or fixed-resolution SigLIP 2 checkpoint, of the vision
        model alone or beside its text model, which is left out. ``settings`` replaces keys of the
        configuration, such as ``scales="32+64+112+224"`` or ``attn_type="causal"``; transformers' ``config``
        takes the place of the one in the checkpoint, ``dtype`` (or ``torch_dtype``) that of the weights.

        Raises ``InputError`` for a source that cannot be found, read, or does not fit to the last key.
        """
        loading, keys = split_settings(settings)
        config, state, origin = read_checkpoint(source, revision, keys, loading.config)
        model = cls(config, attn_implementation)
        load_strict(model, state, origin)
        return model.to(loading.dtype or model.dtype).eval()

    @classmethod
    def _from_config(cls, config: SiglipVisionConfig, **settings: Any) -> "SiglipVisionModel":
        """Build an encoder with new weights, for transformers' ``AutoModel.from_config``."""
        loading, keys = split_settings(settings)
        attention = keys.pop("attn_implementation", None)
        model = cls(read_siglip_config(config.to_dict(), keys), attention)
        return model.to(loading.dtype or model.dtype)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors``, which :meth:`from_pretrained`, the released
        encoder and transformers' own read."""
        self.config.architectures = [type(self).__name__]
        write_checkpoint(folder, self.config.to_diff_dict(), self)


_ARGUMENTS = tuple(
    name
    for name in inspect.signature(SiglipVisionModel.forward).parameters
    if name not in ("self", "unknown")
)

AutoModel.register(SiglipVisionConfig, SiglipVisionModel, exist_ok=True)
