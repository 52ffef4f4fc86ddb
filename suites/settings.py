"""Gaze settings: how many patches a cell may choose, and when it may stop.

The names are those of the published evaluation. ``ratio_0.25`` is a budget: at most that share of a frame's
candidate patches. ``task_0.70`` is a requirement: stop once the predicted reconstruction loss is at or below
it. ``ratio_0.75_task_0.70`` is both: the budget caps, the requirement stops.
"""

import re
from dataclasses import dataclass

from autogaze.errors import InputError

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_FORM = re.compile(rf"(?=.)(?:ratio_(?P<ratio>{_NUMBER}))?(?:(?:^|(?<=[0-9])_)task_(?P<task>{_NUMBER}))?")


@dataclass(frozen=True)
class GazeSetting:
    """One way to ask for patches; ``None`` leaves that side free."""

    name: str
    gazing_ratio: float | None
    """Budget as a share of the candidate patches of a frame, 0 to 1."""
    task_loss_requirement: float | None
    """Reconstruction loss at or below which a frame needs no more patches."""


def parse_setting(name: str) -> GazeSetting:
    """Return the setting called ``name``; its own ``name`` is canonical: equal settings compare equal.

    Numbers are written with two decimals, or with as many as they need: ``ratio_0.5`` becomes ``ratio_0.50``.

    Raises ``InputError`` for any other form and for a ratio outside [0, 1].
    """
    match = _FORM.fullmatch(name)
    if match is None:
        raise InputError(
            f"gaze setting '{name}' must have the form ratio_0.25, task_0.70 or ratio_0.75_task_0.70"
        )
    ratio, task = (float(text) if text else None for text in match.group("ratio", "task"))
    if ratio is not None and ratio > 1:
        raise InputError(f"gaze setting '{name}' asks for ratio {ratio:g}: a ratio is a share, from 0 to 1")
    parts = [
        f"{kind}_{_written(value)}" for kind, value in (("ratio", ratio), ("task", task)) if value is not None
    ]
    return GazeSetting("_".join(parts), ratio, task)


def canonical_setting(name: str) -> str:
    """Return the canonical spelling of a setting: the check of the axis ``setting``."""
    return parse_setting(name).name


def _written(value: float) -> str:
    exact = f"{value:.12f}".rstrip("0")
    return max(exact, f"{value:.2f}", key=len)


PUBLISHED_SETTINGS = tuple(
    parse_setting(name)
    for name in (
        "ratio_0.10",
        "ratio_0.25",
        "ratio_0.50",
        "ratio_0.75",
        "ratio_0.75_task_0.70",
        "task_0.70",
        "ratio_1.00",
    )
)
"""The seven settings of the published evaluation, in its order."""
