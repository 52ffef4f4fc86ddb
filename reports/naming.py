"""Names of cells: the shortest words that tell one from the others, or a few from the rest."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from reports.results import CellResult
from reports.units import Value, text

Item = TypeVar("Item")

_MINOR = {
    "gaze": {"chunk", "dtype", "attention", "batch"},
    "encode": {"chunk", "dtype", "attention", "batch", "attn_type"},
    "attention": {"dtype", "batch", "heads", "head_dim", "padding"},
}
"""By workload, the axes that most cells leave at one value: only the others say theirs."""
_FEW = 3
"""More cells than this are described together, not named one by one."""
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?%?(?![\w])")


def _axes(results: Sequence[CellResult]) -> list[str]:
    return list(dict.fromkeys(["workload", *(name for result in results for name in result.cell.axes)]))


def varying_axes(results: Sequence[CellResult]) -> list[str]:
    """Return the axes in which the cells differ, in their own order."""
    return [name for name in _axes(results) if len({result.axis(name) for result in results}) > 1]


def constant_axes(results: Sequence[CellResult]) -> dict[str, Value]:
    """Return the axes in which the cells do not differ, with their value."""
    varying = varying_axes(results)
    return {name: results[0].axis(name) for name in _axes(results) if name not in varying}


def usual_axes(results: Sequence[CellResult]) -> dict[str, Value]:
    """Return the axes that only unusual cells need to say, with the value that more than half the cells
    have."""
    minor = set.intersection(*(_MINOR.get(result.cell.workload, set()) for result in results))
    usual: dict[str, Value] = {}
    for name in varying_axes(results):
        value, count = Counter(result.axis(name) for result in results).most_common(1)[0]
        if name in minor and 2 * count > len(results):
            usual[name] = value
    return usual


def several_runs(results: Sequence[CellResult]) -> bool:
    """Return whether the results are of more than one run."""
    return len({result.run.id for result in results}) > 1


def cell_label(result: CellResult, results: Sequence[CellResult], *apart: str) -> str:
    """Return the shortest name that tells the cell from the others: its values of the axes that vary.

    An axis that most cells leave at one value is said where it has another. Axes named in ``apart`` are left
    out, which makes it the name of a series of cells.
    """
    usual = usual_axes(results)
    parts = [
        axis_text(name, result.axis(name))
        for name in _main_first(results, usual)
        if name not in apart and not (name in usual and result.axis(name) == usual[name])
    ]
    if several_runs(results):
        parts.insert(0, result.label)
    return ", ".join(part for part in parts if part) or result.cell.workload


def _main_first(results: Sequence[CellResult], usual: dict[str, Value]) -> list[str]:
    return sorted(varying_axes(results), key=lambda name: name in usual)


def unusual_text(result: CellResult, usual: dict[str, Value]) -> str:
    """Return the cell's values of those axes in which it differs from the usual ones."""
    values = {name: result.axis(name) for name in usual}
    return "; ".join(axis_text(name, value) for name, value in values.items() if value != usual[name])


def axes_text(axes: dict[str, Value]) -> str:
    """Return axes and their values as a list in words."""
    return ", ".join(f"{name} {text(value)}" for name, value in axes.items())


def axis_text(name: str, value: Value) -> str:
    """Return an axis value that can stand alone: ``chunk 16``, ``ratio_0.25``."""
    if value is None:
        return ""
    return text(value) if isinstance(value, str) else f"{name} {value}"


def which(cells: Sequence[CellResult], results: Sequence[CellResult]) -> str:
    """Say which of the results are meant: a few by name, more by what they have in common."""
    if len(cells) <= _FEW:
        return "; ".join(cell_label(cell, results) for cell in cells)
    usual = usual_axes(results)
    parts = [
        _values_text(name, cells, results)
        for name in _main_first(results, usual)
        if not (name in usual and all(cell.axis(name) == usual[name] for cell in cells))
    ]
    common = ", ".join(part for part in parts if part)
    return f"{len(cells)} of {len(results)} cells" + (f": {common}" if common else "")


def _values_text(name: str, cells: Sequence[CellResult], results: Sequence[CellResult]) -> str:
    """Return the values of an axis that the cells have; nothing where these are all that there are."""
    values, there_are = (
        [value for value in dict.fromkeys(cell.axis(name) for cell in among) if value is not None]
        for among in (cells, results)
    )
    if not values or len(values) == len(there_are):
        return ""
    if len(values) == 1:
        return axis_text(name, values[0])
    numbers = sorted(value for value in values if isinstance(value, int | float))
    if len(numbers) == len(values):
        return f"{name} {numbers[0]} to {numbers[-1]}"
    return " or ".join(map(text, values)) if len(values) <= _FEW else f"{len(values)} values of {name}"


def merged(said: Iterable[tuple[str, Item]]) -> list[tuple[str, list[Item]]]:
    """Return every sentence once, with all that it is about; those that differ in numbers become one.

    Where the numbers differ, the merged sentence gives the lowest and the highest.
    """
    groups: dict[str, list[tuple[str, Item]]] = {}
    for sentence, item in said:
        groups.setdefault(_NUMBER.sub("#", sentence), []).append((sentence, item))
    return [
        (_with_ranges([sentence for sentence, _ in group]), [item for _, item in group])
        for group in groups.values()
    ]


def _with_ranges(sentences: Sequence[str]) -> str:
    """Return the first of sentences that differ in numbers at most, with the range of each number."""
    columns = iter(zip(*(_NUMBER.findall(sentence) for sentence in sentences)))

    def spread(_: re.Match[str]) -> str:
        ordered = sorted(next(columns), key=lambda number: float(number.rstrip("%")))
        return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"

    return _NUMBER.sub(spread, sentences[0])


def setting_kind(setting: object) -> str:
    """Return how a gaze setting limits patches: the two kinds lie on curves of their own."""
    return "loss requirement" if "task" in str(setting) else "budget"
