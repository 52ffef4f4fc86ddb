"""Configuration of the SigLIP encoder: the keys of transformers' ``SiglipVisionConfig``, and a few more."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from autogaze.attention import Kind
from autogaze.checkpoints import CheckpointConfig
from autogaze.errors import InputError, unknown_name
from autogaze.gaze.grid import PatchGrid
from autogaze.video.preprocessing import PixelScale

PIXEL_SCALE = PixelScale(
    image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5), rescale_factor=1 / 255, offset=False
)
"""What SigLIP's image processors do to pixels: to [-1, 1]."""

MODEL_TYPES = ("siglip_vision_model", "siglip")
"""``model_type`` of checkpoints that can be read: the encoder alone, or beside its text model."""

ACTIVATIONS = {"gelu": "none", "gelu_pytorch_tanh": "tanh"}
"""``hidden_act`` and the approximation of torch's GELU that it means."""


@dataclass(frozen=True, kw_only=True)
class SiglipVisionConfig(CheckpointConfig):
    """Sizes, scales and attention of an encoder; the defaults are those of SigLIP's base size.

    Sparse ``config.json`` files rely on these defaults, which are transformers' own.
    """

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    """Side in pixels of the pictures the position table is for."""
    patch_size: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    vision_use_head: bool = True
    """Whether there is an attention pooling head."""
    scales: str = ""
    """Side lengths a frame is resized to, in pixels, joined by ``+``; empty for the image size alone."""
    attn_type: Kind = "block_causal"
    """Who sees whom: ``block_causal`` (own frame and those before), ``causal`` (own and earlier tokens),
    ``bidirectional``."""
    frame_independent_encoding: bool = False
    """Whether a token sees its own frame only."""
    max_embed_batch_size: int | None = None
    """Frames resized and cut into patches at a time; None for all."""

    def __post_init__(self) -> None:
        model_type = self.extra.get("model_type", MODEL_TYPES[0])
        if model_type not in MODEL_TYPES:
            raise InputError(
                f"model_type '{model_type}' is not a SigLIP encoder of fixed resolution; known are "
                f"{', '.join(MODEL_TYPES)}, such as google/siglip2-base-patch16-224"
            )
        if self.num_attention_heads < 1 or self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} must be a multiple of num_attention_heads, "
                f"{self.num_attention_heads}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise unknown_name("activation", self.hidden_act, ACTIVATIONS)
        if self.attention_dropout:
            raise InputError(
                f"attention_dropout {self.attention_dropout} must be 0: no backend drops attention"
            )
        if self.attn_type not in get_args(Kind):
            raise unknown_name("attn_type", self.attn_type, get_args(Kind))
        if self.max_embed_batch_size is not None and self.max_embed_batch_size < 1:
            raise InputError(
                f"max_embed_batch_size {self.max_embed_batch_size} must be at least 1 frame, or None for all"
            )
        _ = self.grid

    @cached_property
    def grid(self) -> PatchGrid:
        """The patches of a frame."""
        return PatchGrid.parse(self.scales or self.image_size, self.patch_size)

    @property
    def table_places(self) -> int:
        """Entries of the position table."""
        return (self.image_size // self.patch_size) ** 2

    def to_dict(self) -> dict[str, Any]:
        """Return every key as plain values, unknown ones included, and transformers' name of the model."""
        return {"model_type": MODEL_TYPES[0], **super().to_dict()}


def read_siglip_config(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> SiglipVisionConfig:
    """Return the encoder's configuration from a ``config.json``, where ``vision_config`` may hold it.

    ``overrides`` replaces keys. Raises ``InputError`` for an override that is no key, and for values that do
    not fit together.
    """
    for name in overrides:
        if name not in SiglipVisionConfig.key_names():
            raise unknown_name("setting of SiglipVisionModel", name, SiglipVisionConfig.key_names())
    own = values.get("vision_config", values)
    return SiglipVisionConfig.from_dict({**own, **overrides})
