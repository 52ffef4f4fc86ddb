"""``compare``: say whether one run is worse than another."""

import typer

from bench.commands import options
from bench.commands.machine import comparison_document, print_json
from bench.commands.measuring import open_console
from bench.compare import TOLERANCE
from bench.compare import compare as compare_runs
from bench.run_names import find_run


def compare(
    a: options.RunA,
    b: options.RunB,
    tolerance: options.Tolerance = TOLERANCE,
    allow: options.Allow = None,
    results: options.Results = options.RESULTS,
    json: options.Json = False,
) -> None:
    """Compare run B with run A: exit code 0 nothing worse, 1 worse, 2 not comparable."""
    import reports

    comparison = compare_runs(find_run(a, results), find_run(b, results), tolerance, allow or ())
    reports.print_comparison(comparison, open_console(stderr=json))
    if json:
        print_json(comparison_document(comparison))
    raise typer.Exit(comparison.exit_code)
