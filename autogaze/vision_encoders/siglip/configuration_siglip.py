"""Configuration of the SigLIP encoder: transformers' ``SiglipVisionConfig``, with scales and masks of
videos."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, get_args

from transformers import PretrainedConfig

from autogaze.attention import Kind
from autogaze.attention.naming import backend_name
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

_DEFAULT_BACKEND = "sdpa"

_BACKEND_KEY = "attention_backend"
"""Key under which a chosen backend is saved; transformers' own would make its models refuse ours."""

_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "attention_dropout": 0.0,
    "vision_use_head": True,
    "scales": None,
    "attn_type": "block_causal",
    "frame_independent_encoding": False,
    "max_embed_batch_size": None,
}
"""Every key of the encoder; those of transformers have its defaults, which sparse ``config.json`` files rely
on."""


class SiglipVisionConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes, scales and attention of an encoder; the defaults are those of SigLIP's base size.

    ``scales``, ``attn_type``, ``frame_independent_encoding``, ``max_embed_batch_size`` and
    ``_attn_implementation`` may be set at any time, on the configuration of a model too, whose next call goes
    by them; sizes count when a model is built. What is set is saved. Keys that this project does not know are
    kept and written back.

    Raises ``InputError`` for values that cannot be used, when they are set.
    """

    model_type = MODEL_TYPES[0]
    base_config_key = "vision_config"

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_channels: int
    image_size: int
    """Side in pixels of the pictures the position table is for."""
    patch_size: int
    hidden_act: str
    layer_norm_eps: float
    attention_dropout: float
    vision_use_head: bool
    """Whether there is an attention pooling head."""
    scales: str
    """Side lengths a frame is resized to, in pixels, joined by ``+``; the image size alone by default."""
    attn_type: Kind
    """Who sees whom: ``block_causal`` (own frame and those before), ``causal`` (own and earlier tokens),
    ``bidirectional``."""
    frame_independent_encoding: bool
    """Whether a token sees its own frame only."""
    max_embed_batch_size: int | None
    """Frames resized and cut into patches at a time; None for all."""

    def __init__(self, **values: Any) -> None:
        if values.get("model_type", MODEL_TYPES[0]) not in MODEL_TYPES:
            raise InputError(
                f"model_type '{values['model_type']}' is not a SigLIP encoder of fixed resolution; known are "
                f"{', '.join(MODEL_TYPES)}, such as google/siglip2-base-patch16-224"
            )
        values.pop("model_type", None)
        backend = [values.pop(name, None) for name in ("attn_implementation", _BACKEND_KEY)]
        for name, default in _DEFAULTS.items():
            given = values.pop(name, None)  # a null stands for the default
            setattr(self, name, default if given is None else given)
        super().__init__(**values)
        self._attn_implementation = backend[0] or backend[1]
        self.check()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "scales":
            value = self._read_scales(value)
        elif name in _CHECKS:
            _CHECKS[name](value)
        super().__setattr__(name, value)

    def _read_scales(self, value: Any) -> str:
        if value is None or value == "":  # as this project once wrote it
            return str(self.image_size)
        scales = "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        PatchGrid.parse(scales, self.patch_size)
        return scales

    def check(self) -> None:
        """Refuse sizes that do not fit together."""
        if self.num_attention_heads < 1 or self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} must be a multiple of num_attention_heads, "
                f"{self.num_attention_heads}"
            )
        _ = self.grid

    @property
    def grid(self) -> PatchGrid:
        """The patches of a frame."""
        return _grid(self.scales, self.patch_size)

    @property
    def table_places(self) -> int:
        """Entries of the position table."""
        return int(self.image_size // self.patch_size) ** 2

    @property
    def _attn_implementation(self) -> str:
        """The attention backend (:mod:`autogaze.attention`), under its name here."""
        return getattr(self, "_attn_implementation_internal", None) or _DEFAULT_BACKEND

    @_attn_implementation.setter
    def _attn_implementation(self, value: str | None) -> None:
        self._attn_implementation_internal = None if value is None else backend_name(value)

    @property
    def extra(self) -> dict[str, Any]:
        """Keys that neither this project nor transformers knows; they are written back."""
        known = PretrainedConfig().__dict__.keys() | _DEFAULTS.keys()
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in known and not name.startswith("_")
        }

    def __eq__(self, other: object) -> bool:
        # transformers 5 would compare its own keys alone.
        return isinstance(other, SiglipVisionConfig) and self.to_diff_dict() == other.to_diff_dict()

    @classmethod
    def key_names(cls) -> list[str]:
        """Return the keys this version knows."""
        return list(_DEFAULTS)

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **overrides: Any) -> Any:
        """Read a mapping in the checkpoints' keys, which is not changed; ``overrides`` replaces keys.

        A null stands for the default.
        """
        # transformers 4 takes the backend from the overrides alone.
        overrides.setdefault("attn_implementation", config_dict.get("attn_implementation"))
        return super().from_dict(dict(config_dict), **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Return every key as plain values, unknown ones included, and the backend where one was chosen."""
        return self._with_backend(super().to_dict())

    def to_diff_dict(self) -> dict[str, Any]:
        """Return what is saved: all of the encoder's own keys, and what else is not transformers' default."""
        return self._with_backend(super().to_diff_dict())

    def _with_backend(self, values: dict[str, Any]) -> dict[str, Any]:
        chosen = self._attn_implementation
        return values if chosen == _DEFAULT_BACKEND else values | {_BACKEND_KEY: chosen}


def read_siglip_config(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> SiglipVisionConfig:
    """Return the encoder's configuration from a ``config.json``, where ``vision_config`` may hold it.

    ``overrides`` replaces keys. Raises ``InputError`` for an override that is no key, and for values that do
    not fit together.
    """
    for name in overrides:
        if name not in _DEFAULTS:
            raise unknown_name("setting of SiglipVisionModel", name, _DEFAULTS)
    own = values.get("vision_config", values)
    config: SiglipVisionConfig = SiglipVisionConfig.from_dict({**own, **overrides})
    return config


@lru_cache(maxsize=64)
def _grid(scales: str, patch_size: int) -> PatchGrid:
    return PatchGrid.parse(scales, patch_size)


def _check_activation(value: str) -> None:
    if value not in ACTIVATIONS:
        raise unknown_name("activation", value, ACTIVATIONS)


def _check_dropout(value: float) -> None:
    if value:
        raise InputError(f"attention_dropout {value} must be 0: no backend drops attention")


def _check_kind(value: str) -> None:
    if value not in get_args(Kind):
        raise unknown_name("attn_type", value, get_args(Kind))


def _check_frames(value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"max_embed_batch_size {value} must be at least 1 frame, or None for all")


_CHECKS: dict[str, Callable[[Any], None]] = {
    "hidden_act": _check_activation,
    "attention_dropout": _check_dropout,
    "attn_type": _check_kind,
    "max_embed_batch_size": _check_frames,
}
"""What a key may be set to."""
