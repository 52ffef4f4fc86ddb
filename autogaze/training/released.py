"""Settings of the released training that mean something else here, or nothing: accepted where they ask for
what is done anyway, and refused by name, with the cure, where they do not."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from autogaze.attention import require_backend
from autogaze.errors import InputError, unknown_name
from autogaze.training.settings import TrainingSettings
from autogaze.video.preprocessing import DEFAULT_PIXEL_SCALE

UNRELEASED_TASK = "siglip_video_feature_reconstruction"
"""A task that the released configurations name and whose code was never released."""

_PIXELS: dict[str, Any] = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": DEFAULT_PIXEL_SCALE.do_rescale,
    "rescale_factor": DEFAULT_PIXEL_SCALE.rescale_factor,
    "offset": DEFAULT_PIXEL_SCALE.offset,
    "do_normalize": DEFAULT_PIXEL_SCALE.do_normalize,
    "image_mean": DEFAULT_PIXEL_SCALE.image_mean,
    "image_std": DEFAULT_PIXEL_SCALE.image_std,
}
"""What is done to every picture, by the keys of ``model.preprocessing``."""

_TOLERANCE = 1e-6
"""How far a number in a configuration may be from ours, for the digits it was written with."""


def check_preprocessing(preprocessing: Mapping[str, Any], size: int) -> None:
    """Refuse pictures other than those that gaze model and reconstructor are both trained on: fitted to
    ``size`` pixels, on one pixel scale."""
    for name, value in preprocessing.items():
        if name == "size":
            _check_size(value, size)
        elif name not in _PIXELS:
            known = [f"model.preprocessing.{key}" for key in ("size", *_PIXELS)]
            raise unknown_name("training setting", f"model.preprocessing.{name}", known)
        elif not _same(value, _PIXELS[name]):
            raise InputError(
                f"model.preprocessing.{name} is {value}, and gaze model and reconstructor are trained on the "
                f"same pictures, with {_shown(_PIXELS[name])}; leave it so, and give clips another size with "
                "dataset.size"
            )


def _check_size(value: Any, size: int) -> None:
    sides = set(value.values()) if isinstance(value, Mapping) else {value}
    if sides != {size}:
        raise InputError(
            f"model.preprocessing.size is {value}, and clips have dataset.size={size}; set dataset.size, the "
            "size of what both models see"
        )


def _same(value: Any, ours: Any) -> bool:
    if isinstance(ours, bool) or isinstance(value, bool):
        return value is ours
    try:
        pairs = list(zip(_numbers(value), _numbers(ours), strict=True))
    except (TypeError, ValueError):
        return False
    return all(abs(one - other) <= _TOLERANCE for one, other in pairs)


def _numbers(value: Any) -> list[float]:
    return [float(each) for each in value] if isinstance(value, Sequence) else [float(value)]


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check_flash_attention(settings: TrainingSettings, device: torch.device) -> None:
    """Refuse ``model.use_flash_attn`` where the gaze model cannot be trained with it."""
    if settings.model.get("use_flash_attn"):
        single = settings.trainer.precision == "float32"
        require_backend("flash_attention_2", device, torch.float32 if single else torch.bfloat16)


def named_run(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose run has a name: where ``trainer.exp_name`` is null, one made of the
    configuration's, the learning rate and the batch size.

    The released name has the minute of the start in it too, which several processes may see differently and
    no resumed run could find again.
    """
    trainer = dict(values.get("trainer", {}))
    if trainer.get("exp_name", "") is None:
        trainer["exp_name"] = f"{name}_lr{trainer.get('lr')}_bs{trainer.get('batch_size')}"
    return {**values, "trainer": trainer} if trainer else dict(values)


def check_task(asked: Sequence[str]) -> None:
    """Refuse the task of the released configurations that was never released; ``asked`` are names and
    overrides."""
    for text in asked:
        if UNRELEASED_TASK in text:
            raise InputError(
                f"{text} asks for the task {UNRELEASED_TASK}, whose code was never released; train with "
                "task=video_mae_reconstruction"
            )
