"""``list``: the runs that there are, and the names that other commands know them by."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from bench.commands import options
from bench.commands.machine import print_json, state_document
from bench.commands.measuring import open_console
from bench.environment import device_model
from bench.records import Run
from bench.run_names import runs_in
from bench.run_state import RunState, state_of

_COMMIT = 7
"""Digits of a commit that tell it from others."""


def list_(results: options.Results = options.RESULTS, json: options.Json = False) -> None:
    """List the runs, the newest first: date, suite, device, commit and state."""
    states = [state_of(folder) for folder in runs_in(results)]
    console = open_console(stderr=json)
    if not states:
        console.print(f"no runs in {results}: make bench SUITE=smoke makes one in a minute", soft_wrap=True)
    else:
        console.print(_table(states))
    if json:
        print_json({"results": results, "runs": [state_document(state) for state in states]})


def _table(states: Sequence[RunState]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("name", "id", "begun (UTC)", "device", "commit", "state"):
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "commit"))
    for place, state in enumerate(states):
        name = f"latest~{place}" if place else "latest"
        identity = Text(state.folder.name)
        if state.run is None:
            table.add_row(name, identity, "", "", "", str(state))
            continue
        begun = state.run.created[:16].replace("T", " ")
        table.add_row(name, identity, begun, device_model(state.run), _commit(state.run), str(state))
    return table


def _commit(run: Run) -> str:
    fields = run.environment.fields
    commit = str(fields.get("git.commit") or "")[:_COMMIT]
    return commit + ("+" if commit and fields.get("git.dirty") else "")
