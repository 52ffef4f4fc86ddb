"""The small trees take all but their workload from this tree, wherever the project is installed from."""

import pytest

from bench.turns.base import ROOT


@pytest.fixture(autouse=True)
def _this_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
