"""``compare``: say whether one run is worse than another."""

import typer

from bench.commands import options
from bench.commands.measuring import open_console
from bench.compare import TOLERANCE
from bench.compare import compare as compare_runs


def compare(
    a: options.RunA, b: options.RunB, tolerance: options.Tolerance = TOLERANCE, allow: options.Allow = None
) -> None:
    """Compare run B with run A: exit code 0 nothing worse, 1 worse, 2 not comparable."""
    import reports

    comparison = compare_runs(a, b, tolerance, allow or ())
    reports.print_comparison(comparison, open_console())
    raise typer.Exit(comparison.exit_code)
