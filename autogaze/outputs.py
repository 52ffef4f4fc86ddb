"""What models return: a dataclass that can be read by key too, as the released outputs are."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any


class KeyedOutput(Mapping[str, Any]):
    """Base of dataclasses whose fields are also the keys of a mapping."""

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    @classmethod
    def _names(cls) -> list[str]:
        return [field.name for field in fields(cls)]  # type: ignore[arg-type]  # every child is a dataclass
