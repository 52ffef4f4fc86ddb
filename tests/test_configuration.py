"""Configurations keep the keys they do not know, and files that hold none are refused."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from autogaze.configuration import CheckpointConfig, read_json
from autogaze.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Example(CheckpointConfig):
    width: int = 4
    scales: str = "32"
    mean: tuple[float, ...] = (0.5,)


def test_values_take_the_form_of_their_defaults() -> None:
    values = {"width": None, "scales": 64, "mean": [0.1, 0.2], "colour": "red"}
    config = Example.from_dict(values)
    assert (config.width, config.scales, config.mean) == (4, "64", (0.1, 0.2))
    assert config.extra == {"colour": "red"}
    assert config.to_dict() == {"colour": "red", "width": 4, "scales": "64", "mean": [0.1, 0.2]}
    assert values == {"width": None, "scales": 64, "mean": [0.1, 0.2], "colour": "red"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "holds no config.json"), ("{", "is not a JSON file"), ("[1]", "holds a list; a JSON object")],
)
def test_a_file_without_an_object_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_json(path)
