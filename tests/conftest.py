"""What has to be settled before anything is imported."""

import os
import signal

import pytest
import torch

if not torch.cuda.is_available():
    # Triton decides at import whether its kernels are compiled or interpreted.
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A shell starts background jobs deaf to interrupts, and what tests start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none; ``make gpu-check`` runs it."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device here; make gpu-check runs it on one"))
