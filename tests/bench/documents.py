"""Documents that ``--json`` prints, and the keys that CONTRIBUTING lists for them."""

import re
from pathlib import Path
from typing import Any

CONTRIBUTING = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
OPEN = frozenset(
    {"statuses", "counters", "quality", "memory", "seconds", "stages", "energy", "work", "a", "b", "said"}
    | {"geometric_mean_ratios"}
)
"""Keys whose values are by name of whatever there is, or described elsewhere."""


def documented(command: str) -> set[str]:
    """Return the keys that CONTRIBUTING lists for the document of a command, by their dotted names."""
    (entry,) = re.findall(rf"^\* `{command}`: (.*(?:\n  .*)*)$", CONTRIBUTING, flags=re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", entry))


def keys(value: Any, prefix: str = "") -> set[str]:
    """Return the dotted names of all keys of a document that are not names of cells, stages or counters."""
    if isinstance(value, list):
        return {key for each in value for key in keys(each, f"{prefix}[]")}
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, each in value.items():
        name = f"{prefix}.{key}" if prefix else key
        is_open = key in OPEN or (key == "axes" and isinstance(each, dict))
        found |= {name} | (set() if is_open else keys(each, name))
    return found
