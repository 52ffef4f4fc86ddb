"""``report``: one report over any number of runs."""

import typer

from bench import journal
from bench.commands import options
from bench.commands.measuring import REPORT
from bench.run_names import find_run


def report(
    runs: options.Runs,
    out: options.ReportOut = options.RESULTS / "report",
    results: options.Results = options.RESULTS,
) -> None:
    """Write one report over several runs; over a single one, draw its own report again.

    The last line is the path of the report that a person opens.
    """
    import reports

    folders = [find_run(name, results) for name in runs]
    for folder in folders:
        journal.read_head(folder)
    if len(folders) > 1:
        journal.check_writable(out)
    written = reports.write_all(folders[0]) if len(folders) == 1 else reports.write_comparable(folders, out)
    for path in sorted(written, key=lambda path: path.name == REPORT):
        typer.echo(path)
