"""Stage marks: names for the parts of a computation, so that whoever measures can tell them apart.

Library code marks its parts with ``with stage("gaze.prefill"): ...`` and counts its work with
``count("decode_steps")``. Nobody listening costs one context-variable read; a benchmark listens with
``with observed_by(observer): ...``. The library never measures anything itself.

Stage names are dotted paths; a child's time lies inside its parent's: ``gaze`` holds ``gaze.vision``,
``gaze.prefill`` and ``gaze.steps``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol


class Observer(Protocol):
    """Told about every stage entered and all work counted, in the order of execution."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Return a context that lasts as long as the stage."""

    def count(self, name: str, amount: int) -> None:
        """Add ``amount`` to the counter ``name``."""

    def took(self, name: str, seconds: float) -> None:
        """Hear that stage ``name`` took so long; it was timed by whoever carried it out."""


_observer: ContextVar[Observer | None] = ContextVar("stage_observer", default=None)
_UNOBSERVED = nullcontext()


def stage(name: str) -> AbstractContextManager[None]:
    """Mark the enclosed code as part of stage ``name``."""
    observer = _observer.get()
    return _UNOBSERVED if observer is None else observer.stage(name)


def count(name: str, amount: int = 1) -> None:
    """Count work done: decode steps, patches encoded."""
    observer = _observer.get()
    if observer is not None:
        observer.count(name, amount)


def took(name: str, seconds: float) -> None:
    """Say that stage ``name`` took ``seconds``, as another process timed it."""
    observer = _observer.get()
    if observer is not None:
        observer.took(name, seconds)


def observer() -> Observer | None:
    """Return whoever listens, for one that listens in between; None where nobody does."""
    return _observer.get()


@contextmanager
def observed_by(listener: Observer) -> Iterator[None]:
    """Send the stages and counts of the enclosed code to ``listener``."""
    token = _observer.set(listener)
    try:
        yield
    finally:
        _observer.reset(token)
