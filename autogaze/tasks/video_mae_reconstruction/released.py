"""Reading the released checkpoint's ``config.yaml``, an OmegaConf file of the training run that made it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autogaze.errors import InputError
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
    return VideoMAEConfig.from_dict(
        architecture(task["recon_model"]) | dict(task["recon_model_config"]) | {"scales": task["scales"]}
    )


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
