"""``report``: one report over any number of runs."""

import typer

from bench import journal
from bench.commands import options


def report(runs: options.Runs, out: options.ReportOut = options.RESULTS / "report") -> None:
    """Write one report over several runs; over a single one, draw its own report again."""
    import reports

    for folder in runs:
        journal.read_head(folder)
    if len(runs) > 1:
        journal.check_writable(out)
    written = reports.write_all(runs[0]) if len(runs) == 1 else reports.write_comparable(runs, out)
    for path in written:
        typer.echo(path)
