"""Document: a report apart from how it is written, as sections of text, tables and figures.

Terminal, Markdown, HTML and CSV are four ways to write the same :class:`Table`; every sentence and every
number of a report exists once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from reports.units import Format, Value, text

Item = TypeVar("Item")


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column of a table about items: what it is called, what it holds, and how that is written."""

    key: str
    """Its name in CSV files, unit included."""
    heading: str
    value: Callable[[Item], Value]
    unit: str = ""
    """The unit it is written in; CSV files hold the value itself, in seconds and bytes."""
    format: Format = text
    numeric: bool = True
    spare: int = 0
    """Where the width does not suffice, columns go in descending order of this; those with 0 stay."""
    note: str = ""
    """What a reader must know about it; stands under the tables that show it."""


@dataclass(frozen=True)
class Table:
    """Values in rows and columns."""

    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Value, ...], ...]

    def formatted(self) -> list[list[str]]:
        """Return every value as text."""
        return [[column.format(value) for column, value in zip(self.columns, row)] for row in self.rows]

    def troubled(self, row: int) -> bool:
        """Return whether a row is about a cell that did not succeed."""
        return any(
            column.key == "status" and value != "ok" for column, value in zip(self.columns, self.rows[row])
        )

    def without(self, keys: Iterable[str]) -> "Table":
        """Return the table without some of its columns."""
        gone = set(keys)
        kept = [i for i, column in enumerate(self.columns) if column.key not in gone]
        return replace(
            self,
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )

    def without_empty(self) -> "Table":
        """Return the table without columns that hold nothing at all."""
        return self.without(
            column.key
            for i, column in enumerate(self.columns)
            if all(row[i] is None or row[i] == "" for row in self.rows)
        )


def tabulate(columns: Sequence[Column[Item]], items: Iterable[Item]) -> Table:
    """Return the table with one row an item."""
    return Table(tuple(columns), tuple(tuple(column.value(item) for column in columns) for item in items))


def notes(tables: Iterable[Table]) -> str:
    """Return what is to be known about the columns of these tables, each note once; empty if nothing is."""
    found = dict.fromkeys(column.note for table in tables for column in table.columns if column.note)
    return "; ".join(found)


@dataclass(frozen=True)
class Heading:
    """Names what follows it inside a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """One paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of plain sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """A picture in a file beside the report."""

    path: str
    """Relative to the report's folder."""
    title: str
    caption: str


Block = Heading | Paragraph | Bullets | Table | Image


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
