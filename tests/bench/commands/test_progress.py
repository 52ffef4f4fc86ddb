import io
import re

import pytest
from rich.console import Console

from bench.commands.progress import LiveProgress, PlainProgress
from bench.records import CPU_OTHERS, Cell, Record, Status
from tests.bench import builders

LONG = Cell(workload="end_to_end", axes={"setting": "ratio_0.75_task_0.70", "dtype": "bfloat16", "x": 1})


def console(width: int = 100, colours: bool = False) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    colour = "truecolor" if colours else None
    return Console(file=stream, width=width, force_terminal=True, color_system=colour), stream  # type: ignore[arg-type]


def busy(record: Record, share: float) -> Record:
    return record.model_copy(update={"details": {CPU_OTHERS: share}})


def lines(stream: io.StringIO) -> list[str]:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]", text) if line.strip()]


def test_a_finished_cell_is_a_row_with_its_median_its_time_and_its_samples() -> None:
    out, stream = console()
    cells = [builders.cell(number) for number in range(2)]
    with LiveProgress(out, cells) as progress:
        progress.begin(cells[0], 1, 2, 65.0, 5)
        progress.end(builders.record(cells[0], {"end_to_end": [0.25, 0.26, 0.3]}))
    rows = lines(stream)
    head = next(place for place, line in enumerate(rows) if line.split() == ["cell", "ms", "took", "samples"])
    row = next(line for line in rows[head:] if line.startswith("1/2"))
    assert row.split() == ["1/2", "fake", "good", "number=0", "260.0", "2.0", "s", "3"]


def test_failures_are_rows_with_their_reason_which_is_said_once() -> None:
    out, stream = console()
    cells = [builders.cell(number) for number in range(3)]
    with LiveProgress(out, cells) as progress:
        for number, cell in enumerate(cells, start=1):
            progress.begin(cell, number, 3, 65.0, 5)
            progress.end(builders.record(cell, status=Status.FAILED))
    text = "\n".join(lines(stream))
    assert text.count("failed: it broke") == 1
    assert text.count("failed, for the reason of 1/3") == 2


def test_the_line_counts_the_samples_of_a_cell() -> None:
    out, stream = console()
    with LiveProgress(out, [builders.cell()] * 4) as progress:
        progress.begin(builders.cell(), 3, 4, 65.0, 8)
        progress.phase("sample 5")
        halfway = progress._line.text(80)
        progress.phase("sample 9")
        more = progress._line.text(80)
        progress.phase("warm-up")
        before = progress._line.text(80)
    assert "sample 5 of 8 ━━━━━··· 3/4 about 1 min 05 s left" in halfway
    assert "sample 9 of 9" in more
    assert "warm-up ━━━━···· 3/4" in before
    assert stream.getvalue()


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_a_narrow_line_keeps_the_count_and_cuts_the_name_first(width: int) -> None:
    out, _ = console(width)
    progress = LiveProgress(out, [LONG] * 28)
    progress.begin(LONG, 14, 28, 3900.0, 5)
    progress.phase("sample 2")
    line = progress._line.text(width)
    assert len(line) <= width
    assert " 14/28" in line
    assert ("about 1 h 05 min left" in line) == (width >= 60 or width == 40)
    assert ("sample 2 of 5" in line) == (width >= 60)
    assert ("━" in line) == (width >= 80)
    assert ("…" in line) == (width < 120)


@pytest.mark.parametrize(("width", "gone"), [(120, None), (60, "took, samples"), (80, "samples")])
def test_what_a_narrow_table_drops_is_said(width: int, gone: str | None) -> None:
    out, stream = console(width)
    with LiveProgress(out, [LONG] * 28) as progress:
        progress.begin(LONG, 14, 28, 3900.0, 5)
        progress.end(builders.record(LONG))
    said = [line for line in lines(stream) if "not shown for want of width" in line]
    assert said == ([f"not shown for want of width: {gone}"] if gone else [])
    assert any(re.match(r"14/28 +end_to_end", line) for line in lines(stream))


def test_numbers_are_not_cut_into_colours() -> None:
    out, stream = console(colours=True)
    with LiveProgress(out, [builders.cell()]) as progress:
        progress.begin(builders.cell(), 1, 1, 65.0, 5)
        progress.end(builders.record(builders.cell(), {"end_to_end": [1.2345]}))
    assert "1,234" in stream.getvalue()
    assert "number=0" in stream.getvalue()


@pytest.mark.parametrize("live", [True, False])
def test_other_programs_are_named_with_the_first_cell_and_marked_with_each(live: bool) -> None:
    out, stream = console(200)
    cells = [builders.cell(number) for number in range(4)]
    with LiveProgress(out, cells) as progress:
        showing = progress if live else PlainProgress(out)
        for number, (cell, share) in enumerate(zip(cells, [0.05, 0.34, 0.5, 0.02]), start=1):
            showing.begin(cell, number, 4, 65.0, 5)
            showing.end(busy(builders.record(cell), share))
    rows = lines(stream)
    said = [line for line in rows if "other programs used" in line]
    assert len(said) == 1
    assert said[0].startswith("! other programs used 34% of the CPUs during that cell")
    assert sum(line.endswith(" !") for line in rows) == 2


def test_a_line_for_logs_says_each_cell_and_its_outcome() -> None:
    out, stream = console(40)
    plain = PlainProgress(out)
    plain.begin(builders.cell(), 1, 2, 65.0, 5)
    plain.end(builders.record(builders.cell(), status=Status.FAILED))
    assert lines(stream) == [
        "[1/2] fake good number=0 (about 1 min 05 s left)",
        "    failed: it broke (2.0 s)",
    ]
