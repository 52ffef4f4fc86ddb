"""Configuration of the gaze model: the checkpoint's ``config.json``, and the typed architecture read from
it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from autogaze.errors import InputError
from autogaze.gaze.grid import RELEASED_GRID, PatchGrid


class Section(dict[str, Any]):
    """A nested part of ``config.json``: a dict whose keys can be read and set as attributes, too; unknown
    ones are kept."""

    def __init__(self, values: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__()
        self.update(copy.deepcopy(dict(values or {})), **settings)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, Section(value) if type(value) is dict else value)

    def update(self, *others: Any, **settings: Any) -> None:
        for name, value in dict(*others, **settings).items():
            self[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this part of the configuration has no '{name}'") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"this part of the configuration has no '{name}'")
        del self[name]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, nested parts included; a copy."""
        return {k: v.to_dict() if isinstance(v, Section) else copy.deepcopy(v) for k, v in self.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Section":
        return type(self)(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.to_dict(),)


@dataclass(frozen=True)
class RotaryScaling:
    """The "llama3" stretching of rotary wavelengths: long ones by ``factor``, short ones not at all."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class Architecture:
    """Sizes of the gaze model; lengths in pixels where they are of pictures, in channels elsewhere."""

    image_size: int
    grid: PatchGrid
    vision_width: int
    vision_out_width: int
    vision_depth: int
    patch_size: int
    trunk_temporal_kernel: int
    trunk_spatial_kernel: int
    width: int
    mlp_width: int
    heads: int
    layers: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RotaryScaling | None
    group: int
    """Positions chosen in one decoder step (``num_multi_token_pred``)."""

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def vision_tokens(self) -> int:
        """Tokens the decoder sees of each frame."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def eos(self) -> int:
        """The token that stands for "no patch"; it follows the last patch index."""
        return self.grid.patches_per_frame

    @property
    def vocabulary(self) -> int:
        return self.grid.patches_per_frame + 1


_VISION = {
    "hidden_dim": 192,
    "out_dim": 192,
    "depth": 1,
    "kernel_size": RELEASED_GRID.patch_size,
    "temporal_patch_size": 1,
    "trunk_temporal_kernel_size": 3,
    "trunk_spatial_kernel_size": 3,
}
_DECODER = {
    "hidden_size": 192,
    "intermediate_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 4,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "num_multi_token_pred": 10,
}


class VisionModelConfig(Section):
    """Sizes of the vision trunk."""

    def __init__(self, values: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__({**_VISION, **(values or {}), **settings})


class GazeDecoderConfig(Section):
    """Sizes of the decoder, in the notation of transformers' ``LlamaConfig``."""

    def __init__(self, values: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__({**_DECODER, **(values or {}), **settings})


class ConnectorConfig(Section):
    """Sizes between the two."""


class GazeModelConfig(Section):
    """The gaze model's parts, and what follows from them: sizes of the vocabulary and of the connector."""

    def __init__(self, values: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__({"input_img_size": RELEASED_GRID.scales[-1], **(values or {}), **settings})
        vision, decoder, connector = (
            self.get(name) or {}
            for name in ("vision_model_config", "gaze_decoder_config", "connector_config")
        )
        self["vision_model_config"] = vision = VisionModelConfig(vision)
        self["gaze_decoder_config"] = decoder = GazeDecoderConfig(decoder)
        self["connector_config"] = ConnectorConfig({"hidden_dim": decoder.hidden_size, **connector})
        self.setdefault("num_vision_tokens_each_frame", RELEASED_GRID.patches_per_frame)
        self.derive()

    def derive(self) -> None:
        """Set what follows from the other settings, as the released configuration does."""
        vision, decoder = self.vision_model_config, self.gaze_decoder_config
        patches = self.num_vision_tokens_each_frame
        self.connector_config["num_tokens"] = (self.input_img_size // max(vision.kernel_size, 1)) ** 2
        decoder.update(vocab_size=patches + 1, eos_token_id=patches)


_RATIO = {
    "sample_strategy_during_training": "fixed",
    "sample_strategy_during_inference": "fixed",
    "fixed": {"gazing_ratio": 0.5},
    "uniform": {"gazing_ratio_min": 0.0, "gazing_ratio_max": 1.0},
    "exponential": {"gazing_ratio_min": 0.0, "gazing_ratio_max": 1.0, "lambda": 10.0},
}
_RATIO_EACH_FRAME = {
    "sample_strategy_during_training": "uniform",
    "sample_strategy_during_inference": "uniform",
    "uniform": {},
    "dirichlet": {"alpha": 0.5},
    "self": {},
}
_REQUIREMENT = {
    "sample_strategy_during_training": "fixed",
    "sample_strategy_during_inference": "fixed",
    "fixed": {"task_loss_requirement": 0.7},
    "uniform": {"task_loss_requirement_min": 0.6, "task_loss_requirement_max": 0.9},
}


class AutoGazeConfig(PretrainedConfig):  # type: ignore[misc]
    """``config.json`` of a gaze model, with the released checkpoint's architecture as default.

    Keys are the released ones. Nested parts are copied, so a caller's dicts are never changed, and keys that
    this project does not know are kept and written back.
    """

    model_type = "autogaze"

    def __init__(
        self,
        scales: str | int = "+".join(map(str, RELEASED_GRID.scales)),
        num_vision_tokens_each_frame: int = RELEASED_GRID.patches_per_frame,
        max_num_frames: int = 16,
        gaze_model_config: Mapping[str, Any] | None = None,
        gazing_ratio_config: Mapping[str, Any] | None = None,
        gazing_ratio_each_frame_config: Mapping[str, Any] | None = None,
        has_task_loss_requirement_during_training: bool = False,
        has_task_loss_requirement_during_inference: bool = False,
        task_loss_requirement_config: Mapping[str, Any] | None = None,
        use_flash_attn: bool = False,
        max_batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.scales = str(scales)
        self.gaze_model_config = GazeModelConfig(gaze_model_config)
        self.num_vision_tokens_each_frame = num_vision_tokens_each_frame
        self.max_num_frames = max_num_frames
        self.gazing_ratio_config = Section(gazing_ratio_config or _RATIO)
        self.gazing_ratio_each_frame_config = Section(gazing_ratio_each_frame_config or _RATIO_EACH_FRAME)
        self.has_task_loss_requirement_during_training = has_task_loss_requirement_during_training
        self.has_task_loss_requirement_during_inference = has_task_loss_requirement_during_inference
        self.task_loss_requirement_config = Section(task_loss_requirement_config or _REQUIREMENT)
        self.use_flash_attn = use_flash_attn
        self.max_batch_size = max_batch_size
        super().__init__(**kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "gaze_model_config" and not isinstance(value, GazeModelConfig):
            value = GazeModelConfig(value)
        super().__setattr__(name, value)
        if name == "num_vision_tokens_each_frame":  # The decoder's vocabulary follows from it.
            self.gaze_model_config["num_vision_tokens_each_frame"] = value
            self.gaze_model_config.derive()

    def __eq__(self, other: object) -> bool:
        # transformers 5 would compare its own keys alone.
        return isinstance(other, AutoGazeConfig) and self.to_dict() == other.to_dict()

    def to_diff_dict(self) -> dict[str, Any]:
        """Return everything: readers of the file may have other defaults."""
        return dict(self.to_dict())

    def take_attn_implementation(self) -> str | None:
        """Return the attention backend that was asked for by ``_attn_implementation``, and forget it:
        transformers would look for one of its own."""
        backend: str | None = getattr(self, "_attn_implementation_internal", None)
        self._attn_implementation_internal = None
        return _BACKENDS.get(backend, backend) if backend is not None else None

    def architecture(self) -> Architecture:
        """Return the sizes, checked to fit together."""
        return architecture_of(self.gaze_model_config, self.scales)


def of_the_config(name: str) -> Any:
    """Return a property that reads and sets an entry of the model's configuration."""

    def read(model: Any) -> Any:
        return getattr(model.config, name)

    def write(model: Any, value: Any) -> None:
        setattr(model.config, name, value)

    return property(read, write, doc=f"``{name}`` of the configuration; may be changed at any time.")


_BACKENDS = {"flex_attention": "flex"}
"""What transformers calls backends that have another name here."""
_VISION_SIZES = ("hidden_dim", "out_dim", "depth", "kernel_size")
_DECODER_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_multi_token_pred",
)


def architecture_of(gaze: GazeModelConfig, scales: str | int | None) -> Architecture:
    """Return the sizes of a gaze model, checked to fit together.

    ``scales`` are those of its patch grid; None for the released grid or else a single scale of the
    input's size, whichever has as many patches as ``gaze`` says.
    """
    vision, decoder = gaze.vision_model_config, gaze.gaze_decoder_config
    for part, names in (("vision_model_config", _VISION_SIZES), ("gaze_decoder_config", _DECODER_SIZES)):
        for name in names:
            value = gaze[part][name]
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} in {part} is {value}: a whole number from 1 is needed")
    patches = gaze.num_vision_tokens_each_frame
    if scales is None:
        released = RELEASED_GRID.patches_per_frame == patches
        scales = "+".join(map(str, RELEASED_GRID.scales)) if released else gaze.input_img_size
    grid = PatchGrid.parse(scales, vision.kernel_size)
    if grid.patches_per_frame != patches:
        raise InputError(
            f"num_vision_tokens_each_frame is {patches}, but scales {scales} cut into "
            f"{vision.kernel_size}-pixel patches make {grid.patches_per_frame}"
        )
    if decoder.hidden_size % decoder.num_attention_heads:
        raise InputError(
            f"hidden_size {decoder.hidden_size} of the gaze decoder is not a multiple of its "
            f"{decoder.num_attention_heads} attention heads"
        )
    if vision.out_dim != decoder.hidden_size:
        raise InputError(
            f"out_dim {vision.out_dim} of the vision model must equal hidden_size {decoder.hidden_size} "
            "of the gaze decoder"
        )
    _require_only_what_is_supported(gaze, grid)
    return Architecture(
        image_size=gaze.input_img_size,
        grid=grid,
        vision_width=vision.hidden_dim,
        vision_out_width=vision.out_dim,
        vision_depth=vision.depth,
        patch_size=vision.kernel_size,
        trunk_temporal_kernel=vision.trunk_temporal_kernel_size,
        trunk_spatial_kernel=vision.trunk_spatial_kernel_size,
        width=decoder.hidden_size,
        mlp_width=decoder.intermediate_size,
        heads=decoder.num_attention_heads,
        layers=decoder.num_hidden_layers,
        rms_norm_eps=decoder.rms_norm_eps,
        rope_theta=decoder.rope_theta,
        rope_scaling=_rotary_scaling(decoder.rope_scaling),
        group=decoder.num_multi_token_pred,
    )


def _require_only_what_is_supported(gaze: Section, grid: PatchGrid) -> None:
    """Refuse settings of the released configuration that ask for another model than the one there is."""
    vision, decoder = gaze.vision_model_config, gaze.gaze_decoder_config
    needed = {
        "temporal_patch_size": (vision, 1),
        "num_vision_tokens_each_frame": (gaze, grid.patches_per_frame),
        "hidden_dim": (gaze.connector_config, decoder.hidden_size),
        "vocab_size": (decoder, grid.patches_per_frame + 1),
        "eos_token_id": (decoder, grid.patches_per_frame),
        "num_key_value_heads": (decoder, decoder.num_attention_heads),
        "head_dim": (decoder, decoder.hidden_size // decoder.num_attention_heads),
        "hidden_act": (decoder, "silu"),
        "attention_bias": (decoder, False),
        "mlp_bias": (decoder, False),
        "attention_dropout": (decoder, 0),
    }
    for name, (part, value) in needed.items():
        if part.get(name) not in (None, value):
            raise InputError(
                f"{name} is {part[name]} in the configuration of the gaze model, which needs {value}"
            )


def _rotary_scaling(section: Mapping[str, Any] | None) -> RotaryScaling | None:
    kind = "default" if section is None else section.get("rope_type", section.get("type", "default"))
    if section is None or kind == "default":
        return None
    if kind != "llama3":
        raise InputError(f"rope_scaling has rope_type '{kind}'; known are llama3 and default")
    return RotaryScaling(
        factor=section["factor"],
        low_freq_factor=section["low_freq_factor"],
        high_freq_factor=section["high_freq_factor"],
        original_max_position_embeddings=section["original_max_position_embeddings"],
    )
