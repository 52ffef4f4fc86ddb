"""Fitting form: of several ways to launch an operation, the first that a GPU has the shared memory for."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from triton.runtime.errors import OutOfResources

R = TypeVar("R")


class Fitting(Generic[R]):
    """Calls the first of its forms that fits, and goes on with that one.

    A launch that does not fit fails before it has done anything, so what was launched before it is done
    again by the next form: forms must allow that, as a decode step does. The first call must not be one that
    is captured.
    """

    def __init__(self, forms: Mapping[str, Callable[..., R]]) -> None:
        """``forms`` by name, the one that is wanted first."""
        self._forms = dict(forms)
        self.refused: dict[str, str] = {}
        """Forms that do not fit, and what each wanted."""

    @property
    def taken(self) -> str:
        """The name of the form that is called."""
        return next(name for name in self._forms if name not in self.refused)

    @property
    def remark(self) -> str | None:
        """What a record should say; None where the form that is wanted fits."""
        if not self.refused:
            return None
        return f"{'; '.join(self.refused.values())}: {self.taken} is launched instead"

    def __call__(self, *arguments: Any, **named: Any) -> R:
        """Raises ``OutOfResources`` where no form fits."""
        while True:
            name = self.taken
            try:
                return self._forms[name](*arguments, **named)
            except OutOfResources as error:
                if len(self.refused) == len(self._forms) - 1:
                    raise
                self.refused[name] = (
                    f"{name} wants {error.required} of {error.name} in a block and this GPU has {error.limit}"
                )
