"""Refusals of input.

Every refusal is one sentence that names the thing, what was found, and what would do. The command line turns
an :class:`InputError` into that sentence and exit code 2; anything else that escapes is a bug and keeps its
stack trace.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable


class InputError(ValueError):
    """Input that cannot be used: one sentence naming the thing, what was found, and what would do."""


class BackendUnavailable(InputError):  # noqa: N818 - the contract's name
    """A backend or engine that cannot run here; the sentence gives the reason and the cure."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the refusal of a name that is not among ``known``, pointing at the nearest one."""
    known = sorted(known)
    nearest = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    hint = f"did you mean '{known[[k.lower() for k in known].index(nearest[0])]}'? " if nearest else ""
    return InputError(f"unknown {kind} '{name}': {hint}known are {', '.join(known)}")


def refuse_unknown(call: Callable[..., object], given: Iterable[str], hint: str = "") -> None:
    """Raise :class:`InputError` for the first keyword in ``given``, which ``call`` does not take, pointing at
    the nearest one that it does; ``hint`` is added to the sentence."""
    for name in given:
        takes = inspect.signature(call).parameters.values()
        known = [each.name for each in takes if each.kind is not each.VAR_KEYWORD and each.name != "self"]
        refusal = unknown_name(f"argument of {call.__qualname__.removesuffix('.forward')}", name, known)
        raise InputError(f"{refusal}{hint}")
