"""Resuming: what is left of a run, and options that do not go with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from autogaze.errors import InputError
from bench import journal, runner
from bench.commands import invocation
from bench.commands.measuring import devices_named
from bench.plan import Plan
from bench.records import Run
from suites.catalogue import ATTENTION

NAMED_AXES = ("attn", "chunk", "dtype", "setting", "batch", "engine")
"""Axes that have an option of their own."""
_ANY_RUN = ("resume", "retry", "plan", "out", "json", "output_dir")
"""Options that say nothing of what the run measures."""
_SETTINGS = {
    "samples": "min_samples",
    "time_budget": "time_budget_seconds",
    "viz_clips": "pictured_clips",
} | {
    "autogaze_model": "checkpoint",
    "autogaze_revision": "revision",
    "task_asset_repo": "task_checkpoint",
    "task_asset_dir": "task_checkpoint",
    "task_asset_revision": "task_revision",
}
"""Options that a run's settings have under another name."""


def given_options(context: typer.Context) -> dict[str, Any]:
    """Return the options that were typed, with their values; those without a value are as good as not."""
    return {
        name: value
        for name, value in context.params.items()
        if _was_typed(context, name) and value not in (None, "", [], ())
    }


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse_other(run: Run, given: Mapping[str, Any], typed: Mapping[str, list[str]]) -> None:
    """Raise ``InputError`` for the first option that asks for something else than ``run`` was begun with.

    ``given`` are options by name, ``typed`` values of axes; what asks for what the run has anyway may stay.
    """
    for name, value in given.items():
        has = _has(run, name, value)
        if name not in (*_ANY_RUN, *NAMED_AXES, "axis") and has is not None and str(has) != str(value):
            raise _other(run, invocation.option(name), name, has, value)
    for axis, values in typed.items():
        names = ATTENTION if axis == "attn" else (axis,)
        held = dict.fromkeys(
            str(cell.axes[name]) for cell in run.cells for name in names if name in cell.axes
        )
        if set(held) != set(values):
            raise _other(run, _axis_option(axis), axis, ", ".join(held) or "no such axis", ",".join(values))


def _axis_option(axis: str) -> str:
    named = invocation.by_make() or axis in NAMED_AXES
    return invocation.option(axis) if named else f"--axis {axis}"


def _has(run: Run, name: str, value: Any) -> object:
    """Return what the run has for an option: the value itself where it asks for the same in other words, and
    None where that is not known."""
    if name == "suite":
        return value if Path(value).stem == run.suite else run.suite
    if name in ("gpu", "device"):
        begun = run.environment.fields.get("device")
        return value if {device.torch_name for device in devices_named(value)} == {begun} else begun
    if name == "clip_len":
        return ", ".join(dict.fromkeys(str(cell.axes.get("chunk")) for cell in run.cells))
    if name == "attn_mode":
        return ", ".join(dict.fromkeys(str(cell.axes.get("attention")) for cell in run.cells))
    if name in ("clip_starts", "max_clips"):
        return "those of its own"
    if name == runner.PROFILE:
        return run.settings.get(name, False)
    setting = _SETTINGS.get(name, name)
    if setting not in run.settings:
        return None
    held = run.settings[setting]
    if isinstance(held, int | float):
        return value if float(held) == value else held
    if name == "upstream":
        return value if str(Path(value).expanduser().resolve()) == held else held
    return "the project's own" if held is None else held


def _other(run: Run, option: str, name: str, has: object, value: object) -> InputError:
    return InputError(
        f"run {run.id} was begun with {name.replace('_', ' ')} {has}, and {option} asks for {value}: leave "
        f"{option} out, or start a new run without {invocation.option('resume')}"
    )


def plan_of_rest(folder: Path, retry: bool) -> Plan:
    """Return the plan of what is left of the run in ``folder``; raises ``InputError`` where its device is not
    here."""
    run, records = journal.read_run(folder)
    (device,) = devices_named(str(run.environment.fields.get("device")))
    cells = tuple(run.cells[place] for place in journal.unfinished(run, records, retry))
    return runner.look_ahead(run, Plan(device, cells), folder.parent)
