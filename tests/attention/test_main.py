"""The table of what runs here."""

import pytest
import torch

from autogaze.attention import __main__ as table
from autogaze.attention import available_backends


def test_every_backend_agrees_on_every_mask_or_says_why_it_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table, "_DTYPES", (torch.float32,))
    found = list(table.lines(torch.device("cpu")))
    for backend, reason in available_backends("cpu", torch.float32).items():
        lines = [line for line in found if line.startswith(f"{backend} ")]
        if reason is not None:
            assert lines == [f"{backend:<18}float32   unavailable: {reason}"]
            continue
        errors = [float(line.split("max error ")[1].split()[0]) for line in lines]
        assert len(errors) == 6 + 1  # masks, and a cache
        assert max(errors) < 1e-5
