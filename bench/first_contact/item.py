"""Item: one question to a device, and what is the same for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class NotHere(Exception):  # noqa: N818 - no error: there is nothing to ask
    """An item that cannot be asked on this device; the message says why."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all items."""

    device: str = "cpu"
    """A torch device, ``cpu`` or ``cuda:0``."""
    pci_id: str | None = None
    """A GPU's place on the bus, for its sensors."""
    small: bool = False
    """Sizes and repetitions that a CPU is done with in seconds."""
    video: Path | None = None
    """The clip to choose patches of; None for the embedded one, or that painted where PyAV is missing."""
    traces: Path | None = None
    """Folder for traces; None to keep none."""

    @property
    def is_cuda(self) -> bool:
        return self.device.startswith("cuda")


@dataclass(frozen=True)
class Item:
    """One question. Its answer is a dictionary that JSON can hold; ``right`` in it, where it is false, says
    that the device computes wrongly."""

    name: str
    ask: Callable[[], dict[str, Any]]
    seconds: float = 60.0
    """After which the process is ended."""
