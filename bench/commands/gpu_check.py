"""``gpu-check``: everything that wants a GPU, one step after another, in a process each.

A step that fails or runs out of its share of the time does not stop the next. Every step has a log, every
suite a run that can be resumed, and a summary says what became of each and which goals are met; all of it
lies in one folder. Suites have what is waited for most at their beginning, so that a run that is cut off has
measured it.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from autogaze.errors import InputError
from autogaze.files import write_text
from bench import journal
from bench.commands import options
from bench.commands.measuring import devices_named
from bench.devices import CPU, Device
from bench.environment import describe
from bench.run_state import BAD

SUMMARY_FILE = "summary.txt"
LIMIT_SECONDS = 540.0
"""Where a command may take ten minutes, this leaves one for the start and the way back."""

TESTS = ("tests/kernels", "tests/attention", "tests/models")
TIME_BUDGET_SECONDS = 0.5
"""Of a cell's repetitions: most of a cell's time is its start."""

_FAREWELL_SECONDS = 15.0
"""How long an interrupted step may take to write down what it has."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One command; ``weight`` is its share of the time."""

    name: str
    command: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    step: Step
    exit_code: int | None
    """None where its time was up."""
    seconds: float
    cells: tuple[tuple[str, int], ...] = ()
    """Status and number of the cells of the run that it made."""

    @property
    def failed(self) -> bool:
        return self.exit_code not in (0, None) or any(status in BAD for status, _ in self.cells)

    def __str__(self) -> str:
        was_cut = self.exit_code is None
        became = "cut off at its share of the time" if was_cut else f"exit code {self.exit_code}"
        cells = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in self.cells)
        verdict = "FAILED" if self.failed else "cut" if was_cut else "ok"
        return f"{verdict:6} {self.step.name:9} {self.seconds:5.0f} s  {became}" + (
            f"; {cells}" if cells else ""
        )


def gpu_check(
    gpu: options.CheckGpu = "auto",
    out: options.CheckOut = options.RESULTS,
    limit: options.CheckLimit = LIMIT_SECONDS,
) -> None:
    """Run the suites engines, kernels and attention and the GPU tests; say which goals are met."""
    device = devices_named(gpu)[0]
    refuse_cpu(device, gpu)
    folder = make_folder(out, device)
    outcomes = check(folder, standard_steps(folder, device), device, limit, typer.echo)
    typer.echo((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    typer.echo(f"all of it: {folder}")
    raise typer.Exit(int(any(outcome.failed for outcome in outcomes)))


def standard_steps(folder: Path, device: Device) -> tuple[Step, ...]:
    """Return the steps of a whole check; what they write goes into ``folder``."""
    video, python = folder / "street.npz", sys.executable

    def suite(name: str, weight: float) -> Step:
        command = (python, "-m", "bench", "run", "--gpu", device.torch_name, "--suite", name)
        where = ("--video", str(video), "--out", str(folder), "--time-budget", str(TIME_BUDGET_SECONDS))
        return Step(name, (*command, *where), weight)

    return (
        Step("clip", (python, "-m", "autogaze.embedded.street_scene", str(video)), 1),
        suite("engines", 5),
        suite("kernels", 2),
        suite("attention", 1.5),
        Step("tests", (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS), 3),
    )


def make_folder(out: Path, device: Device) -> Path:
    """Make the folder of a check in ``out``; raises ``InputError`` where it cannot be written."""
    journal.check_writable(out)
    folder = out / journal.run_id("gpu-check", device.slug)
    folder.mkdir()
    return folder


def refuse_cpu(device: Device, named: str) -> None:
    """Raise ``InputError`` where no GPU was found; who asks for ``cpu`` by name gets it."""
    if device == CPU and named.strip().lower() != CPU.torch_name:
        raise InputError(
            "no CUDA device that torch can use is here, and gpu-check is for one: see make doctor, or try "
            "the steps out with GPU=cpu"
        )


def check(
    folder: Path, steps: Sequence[Step], device: Device, limit_seconds: float, say: Say
) -> tuple[Outcome, ...]:
    """Carry out the steps, write logs, report and summary into ``folder``; return what became of each."""
    deadline = time.monotonic() + limit_seconds
    outcomes: list[Outcome] = []
    for place, step in enumerate(steps):
        share = step.weight / sum(each.weight for each in steps[place:])
        left = max(0.0, deadline - time.monotonic())
        say(f"{step.name}: at most {share * left:.0f} s, log {folder / step.name}.log")
        outcomes.append(_carried_out(step, folder, share * left))
        say(str(outcomes[-1]))
        _summarise(folder, outcomes, device)
    _write_report(folder, say)
    return tuple(outcomes)


def _carried_out(step: Step, folder: Path, limit_seconds: float) -> Outcome:
    before, begun = set(_runs(folder)), time.monotonic()
    with (folder / f"{step.name}.log").open("wb") as log:
        # What a step started goes with it, if it comes to that.
        process = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            exit_code: int | None = process.wait(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            exit_code = None
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_FAREWELL_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    statuses: Counter[str] = Counter()
    for run in set(_runs(folder)) - before:
        head, records = journal.read_run(run)
        statuses.update(record.status.value for record in records)
        statuses["not_run"] += len(head.cells) - len(records)
    return Outcome(step, exit_code, time.monotonic() - begun, tuple((+statuses).items()))


def _runs(folder: Path) -> list[Path]:
    return sorted(head.parent for head in folder.glob(f"*/{journal.RUN_FILE}"))


def _summarise(folder: Path, outcomes: Sequence[Outcome], device: Device) -> None:
    """Write the summary anew: what is known so far must survive whatever ends the next step."""
    from reports.goals import goals
    from reports.results import load_results

    fields = describe(device).fields
    named = (
        "torch.version",
        "triton.version",
        "transformers.version",
        "gpu.driver",
        "git.commit",
        "git.dirty",
    )
    runs = _runs(folder)
    lines = [
        f"gpu-check on {device.name}, {journal.utc_now()}",
        ", ".join(f"{name} {fields[name]}" for name in named if fields.get(name) is not None),
        "",
        *map(str, outcomes),
        "",
        *(str(goal) for goal in goals(load_results(runs) if runs else [])),
    ]
    write_text(folder / SUMMARY_FILE, "\n".join(lines) + "\n")


def _write_report(folder: Path, say: Say) -> None:
    import reports

    runs = _runs(folder)
    if runs:
        say(f"report: {reports.write_comparable(runs, folder / 'report')[0]}")
