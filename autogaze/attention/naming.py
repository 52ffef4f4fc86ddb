"""Names of attention backends: those here, and what transformers calls them."""

from autogaze.attention.registry import BACKENDS
from autogaze.errors import unknown_name

_ALIASES = {"flex_attention": "flex"}
"""What transformers calls backends that have another name here."""


def backend_name(name: str) -> str:
    """Return what an attention backend is called here, given that or transformers' name.

    Raises ``InputError`` for a backend that there is not.
    """
    own = _ALIASES.get(name, name)
    if own not in BACKENDS:
        raise unknown_name("attention backend", name, BACKENDS)
    return own
