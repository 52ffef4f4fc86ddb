"""Outputs can be read by key and by attribute."""

from dataclasses import dataclass

import pytest

from autogaze.outputs import KeyedOutput


@dataclass
class Example(KeyedOutput):
    first: int = 1
    second: int | None = None

    def method(self) -> None: ...


def test_fields_are_keys() -> None:
    output = Example(first=3)
    assert dict(output) == {"first": 3, "second": None}
    assert output["first"] == output.first
    assert len(output) == 2


@pytest.mark.parametrize("key", ["third", "method", "keys"])
def test_nothing_else_is_a_key(key: str) -> None:
    assert key not in Example()
    with pytest.raises(KeyError, match=key):
        Example()[key]
