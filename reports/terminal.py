"""The first thing a newcomer sees: the summary of a run on the terminal."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from reports.contents import caveats, header_facts, unsuccessful
from reports.document import Table
from reports.results import load_results
from reports.tables import summary_table
from reports.units import text

_BRIEF = {"ms/frame": "ms"}
"""Units written short on the terminal, where width is dear; :data:`_UNITS` says what they leave out."""
_UNITS = "times are medians in ms per frame, p95 that of end to end; gazes are per clip"


def print_table(folder: Path, console: Console) -> None:
    """Print the run in ``folder``: what is the same for all cells once, then a row for each cell.

    Times are in ms per frame. Where the console is too narrow, the columns that matter least are left out,
    and a line says which.
    """
    results = load_results([folder])
    if not results:
        console.print("The plan of this run is empty.")
        return
    console.print(_facts(header_facts(results)))
    console.print()
    print_fitting(summary_table(results), console)
    console.print(Text(_UNITS, style="dim"))
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


def print_fitting(table: Table, console: Console) -> None:
    """Print a table, first leaving out what can be spared, one column after the other, until it fits."""
    unbounded = console.options.update(width=1000)  # Or the measure would stop at the console's own width.

    def fits(table: Table, gap: int) -> bool:
        return Measurement.get(console, unbounded, _rich_table(table, gap)).maximum <= console.width

    left_out: list[str] = []
    spare = [column for column in table.columns if column.spare]
    for column in sorted(spare, key=lambda column: -column.spare):
        if fits(table, gap=1):
            break
        left_out.append(column.heading)
        table = table.without([column.key])
    console.print(_rich_table(table, gap=2 if fits(table, gap=2) else 1))
    if left_out:
        console.print(Text(f"not shown for want of width: {', '.join(left_out)}", style="dim"))


def _rich_table(table: Table, gap: int) -> RichTable:
    drawn = RichTable(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=Style(bold=True))
    for column in table.columns:
        unit = _BRIEF.get(column.unit, column.unit)
        heading = f"{column.heading}\n{unit}" if unit else column.heading
        drawn.add_column(
            heading, justify="right" if column.numeric else "left", overflow="fold", vertical="top"
        )
    for number, row in enumerate(table.formatted()):
        # Two lines for the one long status, rather than a column as wide as it.
        values = (value.replace("out of memory", "out of\nmemory") for value in row)
        drawn.add_row(*map(Text, values), style="red" if table.troubled(number) else None)
    return drawn
