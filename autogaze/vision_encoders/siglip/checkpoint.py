"""Reading SigLIP checkpoints: the vision model alone or beside its text model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from autogaze.checkpoints import read_json, read_state, resolve
from autogaze.errors import InputError
from autogaze.vision_encoders.siglip.configuration_siglip import SiglipVisionConfig, read_siglip_config

CONFIG, WEIGHTS, SHARDS = "config.json", "model.safetensors", "model.safetensors.index.json"

_TEXT_KEYS = ("text_model.", "logit_scale", "logit_bias")
"""What a checkpoint holds of the text model and the loss that ties both together."""

_PREFIX = "vision_model."
"""Stands before every key; transformers 5 leaves it out when it saves the vision model alone."""


def read_checkpoint(
    source: str | os.PathLike[str], revision: str | None, overrides: Mapping[str, Any]
) -> tuple[SiglipVisionConfig, dict[str, Tensor], str]:
    """Return configuration, weights by their names here, and what to call their file in a refusal.

    Raises ``InputError`` for a source that cannot be found or read.
    """
    folder = resolve(source, revision, (CONFIG, "*.safetensors", SHARDS))
    config = read_siglip_config(read_json(folder / CONFIG), overrides)
    state = {
        name: tensor for name, tensor in _read_weights(folder).items() if not name.startswith(_TEXT_KEYS)
    }
    if not any(name.startswith(_PREFIX) for name in state):
        state = {_PREFIX + name: tensor for name, tensor in state.items()}
    return config, state, str(folder / WEIGHTS)


def _read_weights(folder: Path) -> dict[str, Tensor]:
    if (folder / WEIGHTS).is_file():
        return read_state(folder / WEIGHTS)
    if not (folder / SHARDS).is_file():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:10])
        raise InputError(f"checkpoint folder {folder} holds {found}; an encoder is {CONFIG} and {WEIGHTS}")
    shards = sorted(set(read_json(folder / SHARDS).get("weight_map", {}).values()))
    return {name: tensor for shard in shards for name, tensor in read_state(folder / shard).items()}
