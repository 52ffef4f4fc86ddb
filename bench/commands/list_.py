"""``list``: the runs that there are, and the names that other commands know them by."""

import re
from collections import Counter
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

_ID = re.compile(r"\d{8}T\d{6}Z-.+-[0-9a-f]{4}")
_COMMIT = 7
"""Digits of a commit that tell it from others."""


def list_(results: options.Results = options.RESULTS, json: options.Json = False) -> None:
    """List the runs, the newest first: what to call each, date, suite, device, commit and state."""
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
    for column in ("name", "or", "begun (UTC)", "suite", "device", "commit", "state"):
        whole = column in ("name", "or", "begun (UTC)", "commit")
        table.add_column(column, overflow="fold", no_wrap=whole)
    ends = Counter(_end(state.folder.name) for state in states)
    for place, state in enumerate(states):
        name = f"latest~{place}" if place else "latest"
        end = _end(state.folder.name)
        other = Text(end if ends[end] == 1 else state.folder.name)
        if state.run is None:
            table.add_row(name, other, "", "", "", "", str(state))
            continue
        begun = state.run.created[:16].replace("T", " ")
        device = Text(device_model(state.run))
        table.add_row(name, other, begun, state.run.suite, device, _commit(state.run), str(state))
    return table


def _end(identity: str) -> str:
    """Return the last part of an id, which people can type instead of it; another name as it is."""
    return identity.rpartition("-")[2] if _ID.fullmatch(identity) else identity


def _commit(run: Run) -> str:
    fields = run.environment.fields
    commit = str(fields.get("git.commit") or "")[:_COMMIT]
    return commit + ("+" if commit and fields.get("git.dirty") else "")
