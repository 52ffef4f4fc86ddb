"""Configurations of the released package: its checkpoint's ``config.yaml``, an OmegaConf file of the training
run that made it, the arguments of its reconstructor, and transformers' ``ViTMAEConfig``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from autogaze.errors import InputError, unknown_name
from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig, architecture

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def read_released_config(path: Path) -> VideoMAEConfig:
    """Return the configuration under ``task`` in a released ``config.yaml``.

    ``task.recon_model`` names the architecture, ``task.recon_model_config`` overrides its keys, and
    ``task.scales`` gives the scales. Raises ``InputError`` for a file that is not such a configuration.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a YAML file: {str(error).splitlines()[0]}") from None
    task = tree.get("task") if isinstance(tree, Mapping) else None
    missing = [
        key
        for key in ("recon_model", "recon_model_config", "scales")
        if not isinstance(task, Mapping) or key not in task
    ]
    if missing:
        raise InputError(
            f"{path} lacks task.{', task.'.join(missing)}; a released reconstructor's configuration has them"
        )
    task = _resolved(task, tree)
    return released_config(task["recon_model"], task["recon_model_config"] or {}, task["scales"])


def released_config(
    recon_model: str, recon_model_config: Mapping[str, Any], scales: str | int | None
) -> VideoMAEConfig:
    """Return the configuration that the released reconstructor is built from: the sizes of ``recon_model``, a
    hub id or a folder, with ``recon_model_config`` in place of its keys, and the image size as the only scale
    unless something says otherwise."""
    values = architecture(recon_model) | _plain(recon_model_config)
    return VideoMAEConfig.from_dict({"scales": values["image_size"], **values} | _given(scales=scales))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def known_settings() -> list[str]:
    """Return the keys that ``recon_model_config`` may have."""
    return [*VideoMAEConfig.key_names(), *_WITHOUT_MEANING, *_FIXED, "revision"]


def check_settings(settings: Mapping[str, Any], place: str) -> None:
    """Refuse keys of a ``recon_model_config`` that there are not, and values that no reconstructor has;
    ``place`` is what a refusal calls the mapping."""
    for name, value in settings.items():
        if name not in known_settings():
            raise unknown_name(f"key of {place}", name, known_settings())
        if name in _FIXED and value != _FIXED[name]:
            raise InputError(f"{name} in {place} is {value}; a reconstructor is built with {_FIXED[name]}")


def config_of(config: Any) -> VideoMAEConfig:
    """Return the configuration of a reconstructor from one of ours, or from transformers' ``ViTMAEConfig``
    with the released keys set on it; without ``scales`` it has one, the image size."""
    if isinstance(config, VideoMAEConfig):
        return config
    values = {name: value for name, value in config.to_dict().items() if name in known_settings()}
    check_settings(values, "ViTMAEConfig")
    return VideoMAEConfig.from_dict({"scales": values["image_size"], **values})


_WITHOUT_MEANING = ("l1_loss_config", "mask_ratio", "norm_pix_loss", "initializer_range")
"""Keys of the released configuration that change nothing in the model."""

_FIXED: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "qkv_bias": True}
"""Keys of transformers' configuration that have one value here."""


def _plain(node: Any) -> Any:
    """Return mappings and lists, of OmegaConf too, as dicts and lists."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_plain(value) for value in node]
    return node


def _resolved(node: Any, tree: Mapping[str, Any]) -> Any:
    """Replace OmegaConf's ``${a.b}`` by the value it points to."""
    if isinstance(node, Mapping):
        return {key: _resolved(value, tree) for key, value in node.items()}
    match = _REFERENCE.fullmatch(node) if isinstance(node, str) else None
    if match is None:
        return node
    value: Any = tree
    for key in match[1].split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise InputError(f"the configuration refers to {node}, which it does not hold")
        value = value[key]
    return _resolved(value, tree)
