"""Configuration of the VideoMAE reconstructor, in the checkpoints' own keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autogaze.checkpoints import CheckpointConfig, read_json
from autogaze.errors import InputError, unknown_name
from autogaze.gaze.grid import PatchGrid

ARCHITECTURES = Path(__file__).parent / "architectures"

LOSS_WEIGHTS = {"l1": 1.0, "dinov2_reg": 0.3, "siglip2": 0.3}
"""Every loss, with its weight in the released recipe."""

FEATURE_BACKBONES = {
    "dinov2_reg": "facebook/dinov2-with-registers-base",
    "siglip2": "google/siglip2-base-patch16-224",
}
"""The network whose features each feature loss compares."""


def architecture(name: str) -> dict[str, Any]:
    """Return the configuration of a published network, kept in this package so that nothing is downloaded.

    ``name`` is a hub id such as ``facebook/vit-mae-large``, or a folder with a ``config.json``; raises
    ``InputError`` for a hub id that is not kept.
    """
    if Path(name).is_dir():
        values = read_json(Path(name) / "config.json")
        return dict(values.get("vision_config", values))
    known = {path.stem: path for path in ARCHITECTURES.glob("*.json")}
    if name.rpartition("/")[2] not in known:
        raise unknown_name("network architecture", name.rpartition("/")[2], known)
    config: dict[str, Any] = json.loads(known[name.rpartition("/")[2]].read_text(encoding="utf-8"))
    return config


@dataclass(frozen=True, kw_only=True)
class VideoMAEConfig(CheckpointConfig):
    """Sizes, scales and losses of a reconstructor; the defaults are the released checkpoint's."""

    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    decoder_hidden_size: int = 512
    decoder_num_hidden_layers: int = 8
    decoder_num_attention_heads: int = 16
    decoder_intermediate_size: int = 2048
    scales: str = "32+64+112+224"
    """Side lengths a frame is resized to, in pixels; the finest is reconstructed."""
    max_num_frames: int = 256
    """Frames there are time embeddings for."""
    image_size: int = 224
    """Side of a frame in pixels."""
    patch_size: int = 16
    num_channels: int = 3
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    scale_embed: bool = True
    time_embed: bool = True
    causal: bool = True
    """A token sees its own frame and those before it; else all frames."""
    loss_type: str = "l1"
    """Names of losses joined by ``+``: l1, dinov2_reg, siglip2."""
    loss_weights: str = "1"
    """One weight for each loss, joined by ``+``."""
    dinov2_reg_loss_config: Mapping[str, Any] = field(default_factory=dict)
    """``model``: hub id of the network; ``architecture``: its configuration, where it is not kept here."""
    siglip2_loss_config: Mapping[str, Any] = field(default_factory=dict)
    image_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    image_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    rescale_factor: float = 1 / 127.5
    """A pixel of 0 to 255 becomes ``(pixel * rescale_factor - 1 - image_mean) / image_std``."""
    trained: bool = True
    """False for seeded weights, whose quality figures mean nothing."""

    def __post_init__(self) -> None:
        self._check_width("hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads)
        self._check_width(
            "decoder_hidden_size",
            self.decoder_hidden_size,
            "decoder_num_attention_heads",
            self.decoder_num_attention_heads,
        )
        if self.hidden_act != "gelu":
            raise InputError(
                f"activation '{self.hidden_act}' of the reconstructor must be 'gelu', the exact one"
            )
        if self.grid.scales[-1] != self.image_size:
            raise InputError(
                f"the finest of the scales {self.scales} must be the image size, {self.image_size} pixels"
            )
        if any(scale % self.patch_size for scale in self.grid.scales):
            raise InputError(
                f"each of the scales {self.scales} must be a multiple of the patch size, {self.patch_size}"
            )
        _ = self.losses

    @staticmethod
    def _check_width(width_name: str, width: int, heads_name: str, heads: int) -> None:
        if heads < 1 or width % heads:
            raise InputError(f"{width_name} {width} must be a multiple of {heads_name}, {heads}")

    @cached_property
    def grid(self) -> PatchGrid:
        """The patches of a frame."""
        return PatchGrid.parse(self.scales, self.patch_size)

    @cached_property
    def losses(self) -> dict[str, float]:
        """The weight of each loss, by name."""
        names, weights = str(self.loss_type).split("+"), str(self.loss_weights).split("+")
        for name in names:
            if name not in LOSS_WEIGHTS:
                raise unknown_name("loss", name, LOSS_WEIGHTS)
        try:
            values = [float(weight) for weight in weights]
        except ValueError:
            raise InputError(
                f"loss weights '{self.loss_weights}' must be numbers joined by '+', such as 1+0.3+0.3"
            ) from None
        if len(values) != len(names) or len(set(names)) != len(names):
            raise InputError(
                f"losses '{self.loss_type}' and weights '{self.loss_weights}' must pair up, one to one"
            )
        return dict(zip(names, values, strict=True))

    def backbone_architecture(self, loss: str) -> dict[str, Any]:
        """Return the configuration of the network behind a feature loss."""
        asked = self.backbone_settings(loss)
        if "architecture" in asked:
            return dict(asked["architecture"])
        return architecture(asked.get("model", FEATURE_BACKBONES[loss]))

    def backbone_settings(self, loss: str) -> Mapping[str, Any]:
        """Return what the configuration says of a feature loss: ``model``, ``revision``,
        ``architecture``."""
        return self.dinov2_reg_loss_config if loss == "dinov2_reg" else self.siglip2_loss_config

    def with_losses(self, loss_type: str) -> "VideoMAEConfig":
        """Return this configuration with other losses, weighted as here or else as in the released recipe."""
        weights = [self.losses.get(name, LOSS_WEIGHTS.get(name, 0.0)) for name in loss_type.split("+")]
        values = self.to_dict() | {
            "loss_type": loss_type,
            "loss_weights": "+".join(f"{weight:g}" for weight in weights),
        }
        return self.from_dict(values)
