"""A report as GitHub-flavoured Markdown whose source is pleasant to read too."""

from typing import Any

from reports.document import Block, Bullets, Column, Document, Heading, Image, Paragraph, Table


def to_markdown(document: Document) -> str:
    """Return the document's Markdown source."""
    parts = [f"# {_escaped(document.title)}"]
    for section in document.sections:
        parts += [f"## {section.title}", *(_block(block) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"### {_escaped(text)}"
        case Paragraph(text):
            return _escaped(text)
        case Bullets(items):
            return "\n".join(f"* {_escaped(item)}" for item in items)
        case Image(path, title, caption):
            return f"### {title}\n\n![{title}]({path})\n\n{_escaped(caption)}"
        case Table():
            return markdown_table(block)


def markdown_table(table: Table) -> str:
    """Return a table whose columns line up in the source; numbers are aligned right."""
    heads = [_heading(column) for column in table.columns]
    rows = [[_escaped(value) for value in row] for row in table.formatted()]
    widths = [max(3, *(len(row[i]) for row in [heads, *rows])) for i in range(len(heads))]

    def line(values: list[str]) -> str:
        aligned = [
            value.rjust(width) if column.numeric else value.ljust(width)
            for value, width, column in zip(values, widths, table.columns)
        ]
        return f"| {' | '.join(aligned)} |"

    rule = [
        "-" * (width - 1) + ":" if column.numeric else "-" * width
        for width, column in zip(widths, table.columns)
    ]
    return "\n".join([line(heads), f"| {' | '.join(rule)} |", *(line(row) for row in rows)])


def _heading(column: Column[Any]) -> str:
    if not column.unit:
        return column.heading
    return column.heading + ("" if column.unit.startswith("/") else ", ") + column.unit


def _escaped(text: str) -> str:
    """Keep a value from ending its table cell, or from turning into HTML."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
