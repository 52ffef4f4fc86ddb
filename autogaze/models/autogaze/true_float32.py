"""TF32 and other shortcuts of single precision, off while the gaze model computes.

By default cuDNN's convolutions round their inputs to TF32, ten bits instead of 23, and a program may have
allowed the same for matrix products. The patches of a clip are arg-maxes over hundreds of close scores: with
TF32 in the vision trunk most frames get other patches than on a CPU.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_EXACT = "ieee"


class _Switches:
    """torch's switches are the process's: the first of several threads turns them, the last turns them
    back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._restore: Callable[[], None] = lambda: None

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._restore = _turn_off()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()


_switches = _Switches()


@contextmanager
def true_float32() -> Iterator[None]:
    """Have float32 convolutions and matrix products compute float32, on every device, whatever the program
    has allowed; its settings are back afterwards. Other data types are not touched."""
    _switches.enter()
    try:
        yield
    finally:
        _switches.leave()


def _turn_off() -> Callable[[], None]:
    """Turn the shortcuts off; return what restores the settings."""
    backends: Any = torch.backends
    # A switch that was never turned follows the one above it, and does not when it has been turned to what it
    # was: so those above are turned first, and then those only that do not follow.
    above = (backends, backends.cudnn, backends.mkldnn)
    below = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    if all(switch.fp32_precision == _EXACT for switch in below):
        return lambda: None
    products = _older_setting()
    before = [(switch, switch.fp32_precision) for switch in (backends.cuda.matmul, backends.mkldnn.matmul)]
    # Products have an older setting besides, and torch computes with none that disagrees with the newer.
    torch.set_float32_matmul_precision("highest")
    for switch in (*above, *below):
        if switch.fp32_precision != _EXACT:
            before.append((switch, switch.fp32_precision))
            switch.fp32_precision = _EXACT

    def restore() -> None:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for switch, setting in reversed(before):
            switch.fp32_precision = setting

    return restore


def _older_setting() -> str | None:
    """Return the older setting for products; None where it disagrees with the newer: then it is at its
    default."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
