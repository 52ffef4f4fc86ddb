"""Progress of a run on the terminal: a row for every cell as it finishes, and under them a line that counts.

The first is for terminals (:class:`LiveProgress`), the second for logs and pipes (:class:`PlainProgress`).
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from bench.commands.terminal import describe_cell, outcome, spoken_time, status_text
from bench.records import BUSY, CPU_OTHERS, WHOLE, Cell, Record, Status

MARK = "!"
"""Stands beside what was measured while other programs were busy."""
_REFRESHES = 4
"""A second."""
_BAR_WIDTH = 8
_SHORTEST_NAME = 12
_GAP = 2


class PlainProgress:
    """A line when a cell starts and one when it ends: for logs and pipes.

    Axes that are ``known`` are not said again with every cell.
    """

    def __init__(self, console: Console, known: Collection[str] = ()) -> None:
        self._console, self._known = console, known
        self._load = LoadNote()

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float, samples: int) -> None:
        what = describe_cell(cell, self._known)
        self._say(f"[{number}/{total}] {what} (about {spoken_time(seconds_left)} left)")

    def phase(self, name: str) -> None:
        return

    def end(self, record: Record) -> None:
        mark = f" {MARK}" if is_disturbed(record) else ""
        self._say(f"    {outcome(record)}{mark}")
        if note := self._load(record):
            self._say(note)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def is_disturbed(record: Record) -> bool:
    """Return whether other programs took more than a tenth of the CPUs while a cell was timed."""
    share = record.details.get(CPU_OTHERS)
    return isinstance(share, float) and share > BUSY


class LoadNote:
    """Says once, as soon as it is so, that other programs take part of the CPUs."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, record: Record) -> str | None:
        """Return the sentence after the first cell that it is true of; None after others."""
        if self._said or not is_disturbed(record):
            return None
        self._said = True
        share = float(record.details[CPU_OTHERS])
        return (
            f"{MARK} other programs used {share:.0%} of the CPUs during that cell, and its times are longer "
            f"for it; cells marked {MARK} are like it"
        )


@dataclass(frozen=True)
class _RowColumn:
    """What a finished row says beside the cell."""

    heading: str
    width: int
    value: Callable[[Record], str]


def _repetition(record: Record) -> str:
    timed = [each.seconds for each in record.samples if each.stage == WHOLE and not each.warmup]
    return f"{1e3 * median(timed):,.{1 if median(timed) < 1 else 0}f}" if timed else ""


def _samples(record: Record) -> str:
    count = sum(each.stage == WHOLE and not each.warmup for each in record.samples)
    return str(count) if count else ""


_REPETITION = _RowColumn("ms", 10, _repetition)
_TAKEN = _RowColumn("took", 12, lambda record: spoken_time(record.elapsed_seconds))
_SAMPLES = _RowColumn("samples", 7, _samples)
_COLUMNS = (_REPETITION, _TAKEN, _SAMPLES)
"""In the order in which they are shown."""
_SPARED = (_SAMPLES, _TAKEN)
"""In the order in which they go where the width does not suffice."""


class LiveProgress:
    """Rows of finished cells, and a line with the cell that is measured, its sample, the count and the time
    left.

    Axes that are ``known`` are not said again with every cell; ``cells`` are all there are, for the width of
    their names.
    """

    def __init__(self, console: Console, cells: Sequence[Cell], known: Collection[str] = ()) -> None:
        self._console, self._known = console, known
        self._line = _Line()
        self._live = Live(self._line, console=console, transient=True, refresh_per_second=_REFRESHES)
        self._load = LoadNote()
        self._reasons: dict[str, str] = {}
        """Each that was said, and the cell that it was said of."""
        self._digits = len(str(len(cells)))
        self._total = len(cells)
        longest = max((len(describe_cell(cell, known)) for cell in cells), default=0)
        self._columns, self._name_width = _fitting(console.width - self._lead, longest)
        self._headed = False

    @property
    def _lead(self) -> int:
        """Columns that the number of a cell takes: ``3/28``."""
        return 2 * self._digits + 1 + _GAP

    def __enter__(self) -> "LiveProgress":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float, samples: int) -> None:
        self._line.begin(describe_cell(cell, self._known), number, total, seconds_left, samples)
        self._number, self._total = number, total

    def phase(self, name: str) -> None:
        self._line.phase(name)

    def end(self, record: Record) -> None:
        if not self._headed:
            self._headed = True
            self._say_head()
        self._say(self._row(record), "" if record.status is Status.OK else "red")
        if record.status is not Status.OK:
            self._say(" " * self._lead + self._fate(record), "red")
        if note := self._load(record):
            self._say(note, "yellow")

    def _fate(self, record: Record) -> str:
        """Say what became of a cell that is not ok; a reason that was said before by the cell it was said
        of."""
        reason, here = record.reason, f"{self._number}/{self._total}"
        if reason is None or (first := self._reasons.setdefault(reason, here)) == here:
            return outcome(record)
        return f"{status_text(record)}, for the reason of {first}"

    def _say_head(self) -> None:
        cells = " ".join(f"{column.heading:>{column.width}}" for column in self._columns)
        self._say(f"{'':{self._lead}}{'cell':{self._name_width}} {cells}", "bold")
        if gone := [column.heading for column in _COLUMNS if column not in self._columns]:
            self._say(f"not shown for want of width: {', '.join(gone)}", "dim")

    def _row(self, record: Record) -> str:
        number = f"{self._number:>{self._digits}}/{self._total}"
        name = _cut(describe_cell(record.cell, self._known), self._name_width)
        values = " ".join(f"{column.value(record):>{column.width}}" for column in self._columns)
        mark = f" {MARK}" if is_disturbed(record) else ""
        return f"{number:{self._lead}}{name:{self._name_width}} {values}{mark}".rstrip()

    def _say(self, line: str, style: str = "") -> None:
        self._live.console.print(Text(line, style=style), highlight=False)


def _fitting(width: int, longest: int) -> tuple[list[_RowColumn], int]:
    """Return the columns that fit beside names up to ``longest``, and the width that is left to names."""
    columns = list(_COLUMNS)
    for spare in (None, *_SPARED):
        columns = [column for column in columns if column is not spare]
        left = width - sum(column.width + 1 for column in columns) - len(MARK) - 1
        if left >= longest:
            break
    return columns, max(_SHORTEST_NAME, min(longest, left))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


class _Line:
    """The line about the cell that is measured; drawn anew several times a second."""

    def __init__(self) -> None:
        self._name, self._phase = "", ""
        self._done = self._total = self._samples = 0
        self._left = 0.0
        self._begun = time.monotonic()

    def begin(self, name: str, number: int, total: int, seconds_left: float, samples: int) -> None:
        self._name, self._phase, self._samples = name, "", samples
        self._done, self._total = number - 1, total
        self._left, self._begun = seconds_left, time.monotonic()

    def phase(self, name: str) -> None:
        self._phase = name

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text(options.max_width - 1), no_wrap=True)

    def text(self, width: int) -> str:
        """Return the line; where the width does not suffice the name is cut, then the bar goes, then the
        sample: never the count."""
        if not self._total:
            return _cut(f"{self._phase} …" if self._phase else "", width)
        count = f"{self._done + 1}/{self._total}"
        left = f"about {spoken_time(max(0.0, self._left - (time.monotonic() - self._begun)))} left"
        phase = self._counted_phase()
        for parts in ((phase, self._bar(), count, left), (phase, count, left), (count, left), (count,)):
            rest = " ".join(part for part in parts if part)
            room = width - len(rest) - 1
            if room >= _SHORTEST_NAME:
                name = _cut(self._name, room)
                return f"{name}{' ' * (room - len(name))} {rest}"
        return _cut(rest, width)

    def _sample(self) -> int:
        """Return the number of the sample that is being taken; 0 before the first."""
        word, _, number = self._phase.partition(" ")
        return int(number) if word == "sample" and number.isdigit() else 0

    def _counted_phase(self) -> str:
        number = self._sample()
        return f"sample {number} of {max(number, self._samples)}" if number else self._phase

    def _bar(self) -> str:
        """Return the share of the run that is done, the samples of the present cell included."""
        number = self._sample()
        within = (number - 1) / max(number, self._samples) if number else 0.0
        filled = round(2 * _BAR_WIDTH * (self._done + within) / self._total)
        return "━" * (filled // 2) + ("╸" if filled % 2 else "") + "·" * (_BAR_WIDTH - (filled + 1) // 2)
