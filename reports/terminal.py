"""Terminal report: the summary table of a run."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from reports.document import Table, notes
from reports.results import load_results
from reports.sections import caveats, header_facts, unsuccessful
from reports.summaries import groups, remarks
from reports.tables import summary_table
from reports.units import text

_BRIEF = {"ms/frame": "ms"}
"""Units written short on the terminal, where width is dear and no other unit of time is in the table."""
_TIMES = {"ms/call", "ms/clip", "ms/frame"}
_BREAKS = {"out of memory": "out of\nmemory", "+frame": "\n+frame", "; ": ";\n"}
"""Where long values can take two lines, rather than a column as wide as they are."""


def print_table(folder: Path, console: Console) -> None:
    """Print the run in ``folder``: what is the same for all cells once, then a row for each cell.

    Cells of different kinds have tables of their own. Where the console is too narrow, the columns that
    matter least are left out, and a line says which.
    """
    results = load_results([folder])
    if not results:
        console.print("The plan of this run is empty.")
        return
    console.print(_facts(header_facts(results)))
    parts = groups(results)
    for _, alike in groupby(parts, key=lambda part: part.view):
        shown = []
        for part in alike:
            console.print(Text(f"\n{part.title}" if len(parts) > 1 else "", style="bold"))
            shown.append(print_fitting(summary_table(part), console))
            for remark in remarks(part):
                console.print(Text(remark, style="dim"))
        console.print(Text(notes(shown), style="dim"))
    if len(parts) > 1:
        console.print()
    for sentence in unsuccessful(results):
        console.print(Text(f"✗ {sentence}", style="red"))
    for sentence in caveats(results):
        console.print(Text(f"! {sentence}", style="yellow"))


def _facts(facts: Iterable[tuple[str, object]]) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, Text(text(value if isinstance(value, str | int | float) else None)))
    return grid


def print_fitting(table: Table, console: Console) -> Table:
    """Print a table so that it fits; return what is left of it.

    Long values are broken into two lines if they must; then what can be spared is left out, one column after
    the other.
    """
    unbounded = console.options.update(width=1000)  # Or the measure would stop at the console's own width.

    def fits(table: Table, gap: int, broken: bool) -> bool:
        return Measurement.get(console, unbounded, _rich_table(table, gap, broken)).maximum <= console.width

    broken = not fits(table, 1, broken=False)
    left_out: list[str] = []
    spare = [column for column in table.columns if column.spare]
    for column in sorted(spare, key=lambda column: -column.spare):
        if fits(table, 1, broken):
            break
        left_out.append(column.heading)
        table = table.without([column.key])
    console.print(_rich_table(table, 2 if fits(table, 2, broken) else 1, broken))
    if left_out:
        console.print(Text(f"not shown for want of width: {', '.join(left_out)}", style="dim"))
    return table


def _rich_table(table: Table, gap: int, broken: bool) -> RichTable:
    drawn = RichTable(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=Style(bold=True))
    brief = _BRIEF if len({column.unit for column in table.columns} & _TIMES) == 1 else {}
    for column in table.columns:
        unit = brief.get(column.unit, column.unit)
        heading = f"{column.heading}\n{unit}" if unit else column.heading
        drawn.add_column(
            heading,
            justify="right" if column.numeric else "left",
            overflow="fold",
            vertical="top",
            no_wrap=column.numeric,
        )
    for number, row in enumerate(table.formatted()):
        values = (_in_two_lines(value) if broken else value for value in row)
        drawn.add_row(*map(Text, values), style="red" if table.troubled(number) else None)
    return drawn


def _in_two_lines(value: str) -> str:
    for long, lines in _BREAKS.items():
        value = value.replace(long, lines)
    return value
