"""``axes``: what a suite can be narrowed by."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from bench.commands import options
from bench.commands.machine import print_json
from bench.commands.measuring import open_console
from suites.catalogue import ATTENTION, SuiteAxis, axes_of

_MOST_VALUES = 8
"""More values of an axis than this are counted, not listed."""


def axes(suite: options.OfSuite, json: options.Json = False) -> None:
    """List the axes of a suite: the make variable of each, the values its cells have, and those it knows."""
    found = axes_of(suite)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("axis", "with make", "in this suite", "could be"):
        table.add_column(column, overflow="fold")
    for axis in found.values():
        table.add_row(axis.name, f"{_variable(axis.name)}=", _listed(axis.values), _could_be(axis))
    open_console(stderr=json).print(table)
    if json:
        print_json(
            {
                "suite": suite,
                "axes": [
                    {
                        "axis": axis.name,
                        "variable": _variable(axis.name),
                        "workloads": axis.workloads,
                        "values": axis.values,
                        "known": axis.known or None,
                    }
                    for axis in found.values()
                ],
            }
        )


def _variable(axis: str) -> str:
    return "ATTN" if axis in ATTENTION else axis.upper()


def _could_be(axis: SuiteAxis) -> Text:
    others = [value for value in axis.known if value not in axis.values]
    if not axis.known:
        return Text("any that fits")
    return Text(f"also {', '.join(map(str, others))}" if others else "these")


def _listed(values: Sequence[object]) -> Text:
    shown = ", ".join(map(str, values[:_MOST_VALUES]))
    more = len(values) - _MOST_VALUES
    return Text(shown + (f" and {more} more" if more > 0 else ""))
