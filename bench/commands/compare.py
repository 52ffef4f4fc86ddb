"""``compare``: say whether one run is worse than another."""

import typer

from bench.commands import options
from bench.commands.machine import comparison_document, print_json
from bench.commands.measuring import open_console
from bench.compare import TOLERANCE, NotComparableError
from bench.compare import compare as compare_runs
from bench.run_names import find_run
from bench.verdicts import Exit


def compare(
    a: options.RunA,
    b: options.RunB,
    tolerance: options.Tolerance = TOLERANCE,
    allow: options.Allow = None,
    results: options.Results = options.RESULTS,
    json: options.Json = False,
) -> None:
    """Compare run B with run A.

    Exit codes: 0 nothing worse, 1 worse, 2 input that cannot be used, 3 undecided, 4 not comparable.
    """
    import reports

    folders = find_run(a, results), find_run(b, results)
    try:
        comparison = compare_runs(*folders, tolerance, allow or ())
    except NotComparableError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Exit.NOT_COMPARABLE) from None
    reports.print_comparison(comparison, open_console(stderr=json))
    if json:
        print_json(comparison_document(comparison))
    raise typer.Exit(comparison.exit_code)
