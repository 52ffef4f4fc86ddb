"""Reports on runs, from their records alone: terminal, Markdown, HTML, CSV and plots.

Nothing here measures, and nothing imports torch: every report can be drawn again later from a results folder.
Importing this package loads no plotting library; writing a report does.
"""

from collections.abc import Sequence
from pathlib import Path

from reports.comparison import print_comparison
from reports.terminal import print_table

__all__ = ["print_comparison", "print_table", "write_all", "write_comparable"]


def write_all(folder: Path) -> list[Path]:
    """Write the report of the run in ``folder``, into that folder; see :func:`reports.writing.write_all`."""
    from reports import writing

    return writing.write_all(folder)


def write_comparable(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write one report over several runs into ``out``; see :func:`reports.writing.write_comparable`."""
    from reports import writing

    return writing.write_comparable(folders, out)
