"""``gpu-check``: everything that wants a GPU, one step after another, in a process each.

What is worth most comes first: first contact (:mod:`bench.first_contact`), variants of the decode step,
hardware counters and the memory checker where their programs are, the test of identical patches, then the
suites with the goals, then the other tests. A step that fails or runs out of its share of the time does not
stop the next. Suites have what is waited for most at their beginning, so that a run that is cut off has
measured it. A summary says what became of each step and which goals are met. In the end all of it is packed
into a few files (:mod:`bench.commands.packing`).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import typer

from autogaze.errors import InputError
from autogaze.files import write_text
from bench import journal
from bench.commands import options, packing
from bench.commands.measuring import devices_named
from bench.devices import CPU, Device
from bench.environment import describe
from bench.first_contact.lines import FAILED, WRONG, answers, read_lines
from bench.run_state import BAD

SUMMARY_FILE = "summary.txt"
LIMIT_SECONDS = 540.0
"""Where a command may take ten minutes, this leaves one for the start and the way back."""

PATCH_TEST = "tests/models/autogaze/test_true_float32.py"
"""Whether a GPU chooses the patches of a CPU."""
TESTS = ("tests/kernels", "tests/attention", "tests/models", f"--ignore={PATCH_TEST}")
_TESTING = ("pytest", "hypothesis")
"""Packages that tests need."""
_SECTIONS = ("LaunchStats", "Occupancy", "SchedulerStats", "WarpStateStats", "MemoryWorkloadAnalysis")
"""What is asked of the hardware counters."""
WORK = "work"
"""Folder that the steps write into, until it is packed."""
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
    obstacle: str | None = None
    """Why it is skipped; None where it is carried out."""
    optional: bool = False
    """Whether it may fail: not every machine lets a program read hardware counters."""


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
        became_bad = self.exit_code not in (0, None) or any(status in BAD for status, _ in self.cells)
        return became_bad and not self.step.optional

    def __str__(self) -> str:
        if self.step.obstacle is not None:
            return f"skip   {self.step.name:9}          {self.step.obstacle}"
        was_cut = self.exit_code is None
        became = "cut off at its share of the time" if was_cut else f"exit code {self.exit_code}"
        cells = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in self.cells)
        verdict = (
            "FAILED" if self.failed else "cut" if was_cut else "ok" if self.exit_code == 0 else "gave up"
        )
        return f"{verdict:6} {self.step.name:9} {self.seconds:5.0f} s  {became}" + (
            f"; {cells}" if cells else ""
        )


def gpu_check(
    gpu: options.CheckGpu = "auto",
    out: options.CheckOut = options.RESULTS,
    limit: options.CheckLimit = LIMIT_SECONDS,
    wheels: options.CheckWheels = None,
) -> None:
    """Ask a GPU everything, run suites and tests on it; say which goals are met."""
    # Wheels are on the path already (bench.__main__, bench.make_targets): else this would not run.
    device = devices_named(gpu)[0]
    refuse_cpu(device, gpu)
    folder = make_folder(out, device)
    work = folder / WORK
    work.mkdir()
    try:
        outcomes = check(work, standard_steps(work, device), device, limit, typer.echo)
    finally:
        files = packing.pack(work, folder)
    typer.echo((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    typer.echo(f"all of it: {folder}, {', '.join(path.name for path in files)}")
    raise typer.Exit(int(any(outcome.failed for outcome in outcomes)))


def standard_steps(folder: Path, device: Device) -> tuple[Step, ...]:
    """Return the steps of a whole check; what they write goes into ``folder``."""
    video, python = folder / "street.npz", sys.executable

    def suite(name: str, weight: float, *more: str) -> Step:
        command = (python, "-m", "bench", "run", "--gpu", device.torch_name, "--suite", name)
        where = ("--out", str(folder), "--time-budget", str(TIME_BUDGET_SECONDS))
        return Step(name, (*command, *where, *more), weight)

    return (
        Step("clip", (python, "-m", "autogaze.embedded.street_scene", str(video)), 3),
        *_asking(folder, device, video),
        *_watched(device),
        _testing("patches", (PATCH_TEST,), 5),
        suite("engines", 14, "--video", str(video)),
        suite("kernels", 6),
        suite("attention", 3),
        _testing("tests", TESTS, 5),
    )


def _asking(folder: Path, device: Device, video: Path) -> Iterator[Step]:
    """Yield first contact and variants, each with its file of answers."""
    for part, weight in (("contact", 18.0), ("variants", 10.0)):
        command = (sys.executable, "-m", "bench.first_contact", "--part", part)
        files = ("--out", f"{folder / part}.jsonl", "--traces", str(folder / packing.TRACES))
        what = ("--device", device.torch_name, "--video", str(video))
        on_gpu = ("--pci-id", device.pci_id) if device.pci_id else ("--small",)
        yield Step(part, (*command, *files, *what, *on_gpu), weight)


def _watched(device: Device) -> Iterator[Step]:
    """Yield a step under the profiler of the hardware, and a smaller one under the memory checker."""
    step = (sys.executable, "-m", "bench.first_contact.single_step", "--device", device.torch_name)
    sections = (word for name in _SECTIONS for word in ("--section", name))
    yield Step(
        "counters",
        ("ncu", "--target-processes", "all", "--profile-from-start", "off", *sections, "--csv", *step),
        4,
        _lacks("ncu", device),
        optional=True,
    )
    # Memory that torch keeps for later would hide what lies outside of a tensor.
    checker = ("env", "PYTORCH_NO_CUDA_MEMORY_CACHING=1", "compute-sanitizer", "--tool", "memcheck")
    small = ("--error-exitcode", "9", *step, "--cached", "70")
    yield Step("memcheck", (*checker, *small), 3, _lacks("compute-sanitizer", device))


def _lacks(program: str, device: Device) -> str | None:
    if device == CPU:
        return f"{program} watches a GPU, and this is a CPU"
    if shutil.which(program) is None:
        return f"{program} is not on PATH; it comes with the CUDA toolkit"
    return None


def _testing(name: str, tests: Sequence[str], weight: float) -> Step:
    missing = [package for package in _TESTING if util.find_spec(package) is None]
    obstacle = f"tests need {' and '.join(missing)}; WHEELS= may bring them" if missing else None
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    return Step(name, command, weight, obstacle)


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
        ahead = sum(each.weight for each in steps[place:] if each.obstacle is None)
        if step.obstacle is not None:
            outcomes.append(Outcome(step, 0, 0.0))
        else:
            seconds = step.weight / ahead * max(0.0, deadline - time.monotonic())
            say(f"{step.name}: at most {seconds:.0f} s, log {folder / step.name}.log")
            outcomes.append(_carried_out(step, folder, seconds))
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
        *_answers(folder),
        *(str(goal) for goal in goals(load_results(runs) if runs else [])),
    ]
    write_text(folder / SUMMARY_FILE, "\n".join(lines) + "\n")


def _answers(folder: Path) -> list[str]:
    """Return how many answers first contact has of each kind, and those that are wrong or missing."""
    found = []
    for file in sorted(folder.glob("*.jsonl")):
        given = answers(read_lines(file))
        states = Counter(str(line["state"]) for line in given.values())
        found.append(f"{file.stem}: " + ", ".join(f"{number} {state}" for state, number in states.items()))
        for name, line in given.items():
            if line["state"] in (WRONG, FAILED):
                found.append(f"{line['state']:13} {name}: {line.get('reason', 'see the file')}")
    return [*found, ""] if found else []


def _write_report(folder: Path, say: Say) -> None:
    import reports

    runs = _runs(folder)
    if runs:
        say(f"report: {reports.write_comparable(runs, folder / packing.REPORT)[0]}")
