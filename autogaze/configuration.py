"""Configurations in the checkpoints' own keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from autogaze.errors import InputError


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
