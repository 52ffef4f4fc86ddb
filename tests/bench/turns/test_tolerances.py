from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.turns.tolerances import FILE, read_tolerances


def test_the_project_has_tolerances() -> None:
    assert 0 < read_tolerances().time < 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text + "\ntimes = 0.1\n", "'times'.*did you mean 'time'"),
        (lambda text: text.replace("time = 0.02", "time = -1"), "time .* is -1: a number from 0"),
        (lambda text: text.replace("time = 0.02", "time = true"), "time .* is True"),
        (lambda text: text.replace("energy = 0.05", ""), "lack energy"),
        (lambda text: text + "[", "cannot be read"),
    ],
)
def test_tolerances_that_make_no_sense_are_refused_by_name(tmp_path: Path, change, words: str) -> None:
    path = tmp_path / "tolerances.toml"
    path.write_text(change(FILE.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_tolerances(path)
