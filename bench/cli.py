"""The command line.

``python -m bench run``       measure a suite, print its table, write its report
``python -m bench list``      the runs that there are
``python -m bench suites``    what can be measured
``python -m bench axes``      what a suite can be narrowed by
``python -m bench compare``   say whether one run is worse than another
``python -m bench regress``   say whether this tree is worse than a base, both measured in turns
``python -m bench calibrate`` this machine's noise floor, from this tree against itself
``python -m bench selfcheck`` how often the verdicts are wrong on this machine
``python -m bench report``    one report over any number of runs
``python -m bench import``    results of pytest-benchmark, as a run that can be reported and compared
``python -m bench evaluate``  the published reconstruction evaluation
``python -m bench gpu-check`` everything that wants a GPU: first contact, suites, tests, and the goals met
``python -m bench doctor``    what can run here, what cannot, and why

Exit codes: 0 done; 1 a cell failed, timed out or is invalid, nothing was measured, or a run is worse; 2 input
that cannot be used; 3 a comparison is undecided; 4 what was to be compared cannot be; 130 interrupted. What
cannot run here does not count as failed.
"""

import errno
import os
import signal
import sys
from collections.abc import Sequence

import typer

from autogaze.errors import InputError
from bench.commands import invocation
from bench.commands.axes import axes
from bench.commands.calibrate import calibrate
from bench.commands.compare import compare
from bench.commands.doctor import doctor
from bench.commands.evaluate import evaluate
from bench.commands.gpu_check import gpu_check
from bench.commands.import_ import import_
from bench.commands.list_ import list_
from bench.commands.regress import regress
from bench.commands.report import report
from bench.commands.run import run
from bench.commands.selfcheck import selfcheck
from bench.commands.suites import suites

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, a quota that is used up, a file larger than is allowed."""

app = typer.Typer(
    name="bench",
    help="Measure AutoGaze: latency, memory, energy and quality, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command("list")(list_)
app.command()(suites)
app.command()(axes)
app.command()(compare)
app.command()(regress)
app.command()(calibrate)
app.command()(selfcheck)
app.command()(report)
app.command("import")(import_)
app.command()(evaluate)
app.command("gpu-check")(gpu_check)
app.command()(doctor)


def main(arguments: Sequence[str] | None = None, typed: Sequence[str] | None = None) -> None:
    """Run the command line; input that cannot be used is a sentence on standard error and exit code 2.

    ``typed`` are the words that somebody typed to get there, where they are not these ``arguments``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    invocation.remember(typed or (*invocation.program(), *given))
    # A job that is cancelled ends like one that is interrupted: its journal kept, its child killed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(args=given, prog_name="bench")
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        what = error.filename or "a file"
        typer.echo(
            f"error: {what} cannot be written ({os.strerror(error.errno)}): make room, and give the command "
            "again; every cell whose end was shown is in its run's journal",
            err=True,
        )
        sys.exit(2)
