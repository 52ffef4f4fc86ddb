"""``suites``: what can be measured."""

from rich.table import Table
from rich.text import Text

from bench.commands import options
from bench.commands.machine import print_json
from bench.commands.measuring import open_console
from suites.catalogue import catalogue


def suites(json: options.Json = False) -> None:
    """List the suites: name, number of cells and description."""
    found = catalogue()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("suite")
    table.add_column("cells", justify="right")
    table.add_column("measures", overflow="fold")
    for entry in found:
        table.add_row(entry.name, str(entry.cells), Text(entry.description))
    open_console(stderr=json).print(table)
    if json:
        print_json(
            {
                "suites": [
                    {
                        "suite": entry.name,
                        "version": entry.version,
                        "cells": entry.cells,
                        "description": entry.description,
                    }
                    for entry in found
                ]
            }
        )
