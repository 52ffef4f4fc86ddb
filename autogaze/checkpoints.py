"""Checkpoints: a folder, or a hub id at a pinned revision; loaded to the last key or not at all."""

import hashlib
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn

from autogaze.errors import InputError
from autogaze.files import replacing, write_text
from autogaze.hub import PINNED_REVISIONS as PINNED_REVISIONS
from autogaze.hub import resolve as resolve

_NAMED_KEYS = 10


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` or torch file by name, on the CPU, without a ``module.``
    prefix.

    A torch file may hold tensors only: nothing in it is ever executed. Raises ``InputError`` for any other
    file.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"weights file {path} does not exist") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"weights file {path} holds more than tensors and is not loaded; save a plain state dict"
        ) from None
    except Exception as error:  # the readers raise what they like for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"weights file {path} cannot be read ({reason}); fetch it again") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights file {path} holds no plain state dict, which maps names to tensors")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


WEIGHT_FILES = ("*.safetensors", "model.safetensors.index.json")
"""What transformers writes weights into."""

OLD_WEIGHT_FILE = "pytorch_model.bin"
"""What it once wrote them into: read where there is nothing else."""


def read_weights(folder: Path, model: str) -> dict[str, Tensor]:
    """Return the tensors of a folder that transformers wrote, in one file or several.

    Raises ``InputError`` for a folder without any, which says what a ``model`` ("an encoder") is.
    """
    names = ("model.safetensors", "model.safetensors.index.json", OLD_WEIGHT_FILE)
    whole, shards, old = (folder / name for name in names)
    if whole.is_file():
        return read_state(whole)
    if shards.is_file():
        files = sorted(set(read_json(shards).get("weight_map", {}).values()))
        return {name: tensor for shard in files for name, tensor in read_state(folder / shard).items()}
    if old.is_file():
        return read_state(old)
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise InputError(f"checkpoint folder {folder} holds {found}; {model} is config.json and {whole.name}")


_SIGLIP_TEXT = ("text_model.", "logit_scale", "logit_bias")
"""What a SigLIP checkpoint holds of the text model and the loss that ties both together."""

_SIGLIP_VISION = "vision_model."
"""Stands before every key of the vision model; transformers 5 leaves it out when it saves that alone."""


def siglip_vision_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vision model's part of a SigLIP checkpoint, each name with its prefix."""
    own = {name: tensor for name, tensor in state.items() if not name.startswith(_SIGLIP_TEXT)}
    if any(name.startswith(_SIGLIP_VISION) for name in own):
        return own
    return {_SIGLIP_VISION + name: tensor for name, tensor in own.items()}


def load_strict(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy ``state`` into ``module``; every key of both must find its partner, of the same shape.

    ``origin`` is what the refusal calls the state. Raises ``InputError`` that counts the keys and names up to
    ten.
    """
    own = module.state_dict()
    require_fit(
        origin,
        type(module).__name__,
        missing=[name for name in own if name not in state],
        unexpected=[name for name in state if name not in own],
        mismatched=[
            f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    )
    module.load_state_dict(dict(state))


def require_fit(
    origin: str, module: str, *, missing: Sequence[str], unexpected: Sequence[str], mismatched: Sequence[str]
) -> None:
    """Raise ``InputError`` if weights leave keys of a module missing, bring unexpected ones, or have some
    of another shape; it counts the keys of each kind and names up to ten."""
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
    if any(problems.values()):
        found = "; ".join(
            f"{len(keys)} {problem}: {_some(keys)}" for problem, keys in problems.items() if keys
        )
        raise InputError(
            f"{origin} does not fit {module}, nothing was loaded ({found}); use the weights "
            "that belong to the configuration"
        )


def _some(keys: Sequence[str]) -> str:
    rest = len(keys) - _NAMED_KEYS
    return ", ".join(keys[:_NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")


def write_checkpoint(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    module: nn.Module,
    others: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    """Write ``config.json`` and ``model.safetensors`` into ``folder``, each complete or not at all, and
    ``others``, more JSON files by their names."""
    from safetensors.torch import save_file

    target = Path(folder)
    try:
        with replacing(target / "model.safetensors") as weights:
            save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, weights)
        for name, values in {**others, "config.json": config}.items():
            write_text(target / name, json.dumps(dict(values), indent=2) + "\n")
    except OSError as error:
        raise InputError(
            f"checkpoint folder {target} cannot be written: {error.strerror or error}"
        ) from error


def state_hash(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that name the weights: SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Base of configurations whose fields are keys of a checkpoint's ``config.json``."""

    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys that this version does not know; :meth:`to_dict` writes them back."""

    @classmethod
    def key_names(cls) -> list[str]:
        """Return the keys this version knows."""
        return [item.name for item in fields(cls) if item.name != "extra"]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read a mapping in the checkpoints' keys; it is neither changed nor kept.

        A null stands for the default, a list for a tuple, and a number for a word made of it.
        """
        defaults = {item.name: item.default for item in fields(cls)}
        known: dict[str, Any] = {}
        for name in cls.key_names():
            value = values.get(name)
            if value is None:
                continue
            if isinstance(defaults[name], tuple):
                value = tuple(value)
            elif isinstance(defaults[name], str):
                value = str(value)
            known[name] = value
        return cls(**known, extra={name: value for name, value in values.items() if name not in defaults})

    def to_dict(self) -> dict[str, Any]:
        """Return every key as plain values, unknown ones included."""
        values = {name: getattr(self, name) for name in self.key_names()}
        for name, value in values.items():
            if isinstance(value, tuple):
                values[name] = list(value)
            elif isinstance(value, Mapping):
                values[name] = dict(value)
        return {**self.extra, **values}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raises ``InputError`` where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path.parent} holds no {path.name}; name the folder of a saved checkpoint"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds a {type(values).__name__}; a JSON object of settings is needed")
    return values
