"""Fingerprints of outputs: whether two are bit for bit the same, without knowing what they are."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any


def fingerprint(output: Any) -> str | None:
    """Return a name for the content of nested tensors, dataclasses, mappings, sequences and plain values.

    Return None where some part is of another kind: then nothing can be said.
    """
    digest = hashlib.sha256()
    return digest.hexdigest() if _fed(digest, output) else None


def _fed(digest: "hashlib._Hash", value: Any) -> bool:
    digest.update(type(value).__qualname__.encode() + b"\0")
    if value is None or isinstance(value, str | int | float | bool | bytes):
        digest.update(repr(value).encode() + b"\0")
        return True
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _fed_array(digest, value)
    if dataclasses.is_dataclass(value):
        return all(_fed(digest, getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return all(_fed(digest, key) and _fed(digest, part) for key, part in value.items())
    if isinstance(value, Sequence):
        return all(_fed(digest, part) for part in value)
    return False


def _fed_array(digest: "hashlib._Hash", value: Any) -> bool:
    """Feed kind, shape and bytes; a tensor goes by its bytes, for numpy has no bfloat16."""
    digest.update(f"{value.dtype}{tuple(value.shape)}\0".encode())
    if hasattr(value, "detach"):
        import torch

        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    digest.update(value.tobytes())
    return True
