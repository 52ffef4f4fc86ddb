"""Items that do what the test asks for."""

import os
import signal
import threading
from typing import Any

from bench.first_contact.item import Item, NotHere, Settings


def _skips() -> dict[str, Any]:
    raise NotHere("graphs are captured on a CUDA device")


def _fails() -> dict[str, Any]:
    raise RuntimeError("something broke\nand more about it")


def _hangs() -> dict[str, Any]:
    threading.Event().wait()
    return {}


def _process() -> dict[str, Any]:
    return {"pid": os.getpid()}


def _dies() -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGABRT)
    return {}


def items(settings: Settings) -> list[Item]:
    """Return one item of each kind; the process dies in two of them."""
    return [
        Item("first", _process),
        Item("infinite", lambda: {"error": float("inf"), "right": False}),
        Item("skips", _skips),
        Item("fails", _fails),
        Item("second", _process),
        Item("dies", _dies),
        Item("third", _process),
        Item("hangs", _hangs, seconds=1),
        Item("last", lambda: {"device": settings.device}),
    ]


def broken(settings: Settings) -> list[Item]:
    """Cannot even be listed."""
    raise ImportError("no module named torch")
