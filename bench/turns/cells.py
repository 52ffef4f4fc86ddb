"""Cells of a suite as a tree defines them: a program for the tree that is asked.

``python -m bench.turns.cells SUITE OVERRIDES`` prints JSON: the suite's version, and each cell with its
workload's class. OVERRIDES are JSON, axis to values.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autogaze.errors import InputError
from bench.plan import cells_of
from bench.records import Cell
from bench.turns.contest import Tree
from suites.loader import load_suite


@dataclass(frozen=True)
class Definition:
    """A suite of a tree, as far as it says what is measured."""

    version: int
    targets: Mapping[str, tuple[Cell, str]]
    """Key of a cell to the cell and its workload, ``module:class``."""


def definition(tree: Tree, suite: str, overrides: Mapping[str, Sequence[str]]) -> Definition:
    """Ask a tree for a suite.

    Raises ``InputError`` where it has none of that name, or none with such axes.
    """
    command = [tree.python, "-m", "bench.turns.cells", suite, json.dumps(overrides)]
    done = subprocess.run(command, cwd=tree.folder, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it says nothing"]
        raise InputError(f"suite {suite} cannot be had from {tree.folder.name}: {said[-1]}")
    document = json.loads(done.stdout)
    cells = [
        (Cell(workload=each["workload"], axes=each["axes"]), each["target"]) for each in document["cells"]
    ]
    return Definition(document["version"], {cell.key: (cell, target) for cell, target in cells})


def main() -> None:
    suite, overrides = sys.argv[1:]
    try:
        loaded = load_suite(suite, json.loads(overrides), [])
    except InputError as error:
        sys.exit(str(error))
    cells = [
        {"workload": cell.workload, "axes": cell.axes, "target": loaded.workloads[cell.workload]}
        for cell in cells_of(loaded)
    ]
    print(json.dumps({"version": loaded.version, "cells": cells}))


if __name__ == "__main__":
    main()
