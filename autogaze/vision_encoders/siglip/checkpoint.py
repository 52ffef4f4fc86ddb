"""Reading SigLIP checkpoints: the vision model alone or beside its text model."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autogaze.checkpoints import WEIGHT_FILES, read_json, read_weights, resolve, siglip_vision_weights
from autogaze.errors import InputError
from autogaze.vision_encoders.siglip.configuration_siglip import SiglipVisionConfig, read_siglip_config

CONFIG = "config.json"


_IGNORED = ("_from_auto", "_commit_hash", "adapter_kwargs", "trust_remote_code", "low_cpu_mem_usage")
"""Arguments of transformers' loaders that change nothing here; the first ones its ``AutoModel`` adds."""

_CURES = {
    "device_map": "call .to(device) on the model",
    "cache_dir": "set the environment variable HF_HUB_CACHE",
    "token": "set the environment variable HF_TOKEN",
    "local_files_only": "set the environment variable HF_HUB_OFFLINE=1",
    "ignore_mismatched_sizes": "name weights that fit the configuration to the last key",
    "quantization_config": "load the weights as they are, and give dtype a type that torch has",
}
"""Arguments of transformers' loaders that cannot be had here, and what to do instead."""


@dataclass(frozen=True)
class Loading:
    """Arguments of transformers' loaders that are no keys of the configuration."""

    config: Any = None
    """A configuration in place of the checkpoint's own."""
    dtype: torch.dtype | None = None
    """Of the loaded weights; None for the checkpoint's."""


def split_settings(settings: Mapping[str, Any]) -> tuple[Loading, dict[str, Any]]:
    """Tell arguments of transformers' loaders from keys of the configuration.

    Raises ``InputError`` for arguments that cannot be had, with what to do instead.
    """
    keys = {name: value for name, value in settings.items() if name not in _IGNORED}
    for name in keys:
        if name in _CURES:
            raise InputError(
                f"{name}={keys[name]!r} is an argument that SiglipVisionModel does not take; {_CURES[name]}"
            )
    old, dtype = keys.pop("torch_dtype", None), keys.pop("dtype", None)
    return Loading(keys.pop("config", None), _dtype(dtype if dtype is not None else old)), keys


def _dtype(value: Any) -> torch.dtype | None:
    if value is None or value == "auto":
        return None
    dtype = getattr(torch, value, None) if isinstance(value, str) else value
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError(f"dtype {value!r} is no floating type of torch; name one, such as torch.bfloat16")
    return dtype


def read_checkpoint(
    source: str | os.PathLike[str], revision: str | None, overrides: Mapping[str, Any], given: Any = None
) -> tuple[SiglipVisionConfig, dict[str, Tensor], str]:
    """Return configuration, weights by their names here, and what to call their folder in a refusal.

    ``given`` is a configuration in place of the one in the checkpoint. Raises ``InputError`` for a source
    that cannot be found or read.
    """
    folder = resolve(source, revision, (CONFIG, *WEIGHT_FILES))
    values = read_json(folder / CONFIG) if given is None else given.to_dict()
    config = read_siglip_config(values, overrides)
    return config, siglip_vision_weights(read_weights(folder, "an encoder")), str(folder)
