"""``import``: results of pytest-benchmark, as a run that can be reported and compared."""

from bench.commands import invocation, options
from bench.commands.measuring import open_console, print_and_write


def import_(file: options.BenchmarkFile, out: options.Out = options.RESULTS) -> None:
    """Make a run of the results of pytest-benchmark, print its table, write its report."""
    from bench.commands.pytest_benchmark import import_results

    print_and_write(import_results(file, out, invocation.typed()), open_console())
