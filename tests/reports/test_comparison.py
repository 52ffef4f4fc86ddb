import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.compare import compare
from bench.meters.cpu_load import OTHERS
from bench.records import Record
from reports import print_comparison
from tests.reports.fake_run import PLAN, cell, ok_record, run_of, usual_records, write_run
from tests.reports.fake_suites import (
    attention_records,
    encode_records,
    engine_records,
    kernel_record,
    kernel_records,
    kernel_records_on_cpu,
    run_from,
)

CELLS = [cell(setting, chunk) for setting, chunk in PLAN]


def printed(a: Path, b: Path) -> str:
    stream = StringIO()
    print_comparison(compare(a, b), Console(file=stream, width=100))
    return stream.getvalue()


def with_processor_time(record: Record) -> Record:
    """Return the record as it is taken today, on a machine without noise: every repetition like the first."""
    first = {each.stage: each.seconds for each in record.samples if each.index == 0 and not each.warmup}
    samples = []
    for each in record.samples:
        seconds = first.get(each.stage, each.seconds)
        processor = None if "." in each.stage else 1.9 * seconds
        samples.append(each.model_copy(update={"seconds": seconds, "cpu_seconds": processor}))
    return record.model_copy(update={"samples": tuple(samples)})


def records_today() -> list[Record]:
    return [with_processor_time(record) for record in usual_records()]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_run(tmp_path, run_of(CELLS, run_id="base"), records_today())


def test_a_slower_cell_is_named_with_its_stages(base: Path, tmp_path: Path) -> None:
    records = [
        with_processor_time(ok_record(which, speed=0.5 if place == 1 else 1.0))
        for place, which in enumerate(CELLS)
    ]
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records))
    assert "✗ ratio_0.25, chunk 16: gaze takes" in screen
    assert "B is worse beyond the tolerance of 10 % in 1 of 10 cells." in screen
    assert max(map(len, screen.splitlines())) <= 100


def test_like_runs_have_nothing_worse(base: Path, tmp_path: Path) -> None:
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records_today()))
    assert "Nothing is worse beyond the tolerance of 10 %." in screen
    assert "slower" not in screen


def test_runs_from_before_processor_time_was_recorded_decide_nothing_small(tmp_path: Path) -> None:
    screen = compared(usual_records(), usual_records(), tmp_path)
    assert "7 of 7 undecided: neither worse nor the same." in screen
    assert "a run has no processor time" in " ".join(screen.split())


def test_the_unit_of_times_is_said(base: Path, tmp_path: Path) -> None:
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records_today()))
    assert "medians in ms, of one frame, one clip, or one repetition" in " ".join(screen.split())
    assert screen.count(" frame ") >= 7


def test_mean_ratios_and_the_noise_floor_are_said(base: Path, tmp_path: Path) -> None:
    records = [with_processor_time(ok_record(which)) for which in CELLS]
    screen = " ".join(printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records)).split())
    assert "geometric mean of B/A over 7 cells that are ok in both: end_to_end 1.000" in screen
    assert "! the runs differ in cells: 0 ok in A alone, 3 in B alone, and not in the mean" in screen
    assert "noise floor: up to 1.5 × may be noise, for this machine was never calibrated" in screen


def test_a_cell_without_a_result_is_a_row_with_both_statuses(base: Path, tmp_path: Path) -> None:
    records = [ok_record(which) for which in CELLS]
    screen = printed(base, write_run(tmp_path, run_of(CELLS, run_id="head"), records))
    assert screen.count("not compared") == 3
    assert "invalid → ok" in screen
    assert "– → ok" in screen


def compared(a: list[Record], b: list[Record], folder: Path) -> str:
    """Print the comparison of two runs of these records."""
    of_a = write_run(folder, run_from(a, run_id="a"), a)
    return printed(of_a, write_run(folder, run_from(b, run_id="b"), b))


@pytest.mark.parametrize("records", [kernel_records, attention_records, encode_records, engine_records])
def test_runs_of_parts_can_be_compared(records: Callable[[], list[Record]], tmp_path: Path) -> None:
    today = [with_processor_time(record) for record in records()]
    screen = compared(today, today, tmp_path)
    assert "Nothing is worse" in screen
    assert "end_to_end" in screen


def test_a_slower_kernel_is_named_and_told_once_in_the_table(tmp_path: Path) -> None:
    slower = [
        kernel_record(each.cell, speed=0.6) if place == 5 else each
        for place, each in enumerate(kernel_records())
    ]
    screen = compared(kernel_records(), slower, tmp_path)
    assert "✗ block_causal_attention, triton, size 2, bfloat16: kernel takes 1.6" in screen.replace("\n", " ")
    assert screen.count("slower") == 1
    assert "patches" not in screen, "kernels choose none"


def test_like_reasons_are_said_once_with_their_cells(tmp_path: Path) -> None:
    screen = compared(kernel_records_on_cpu(), kernel_records_on_cpu(), tmp_path)
    assert screen.count("the triton form of decode_step") == 1
    assert "6 of 24 cells: decode_step, triton:" in screen


@pytest.mark.parametrize(("share", "marks"), [(0.31, True), (0.09, False)])
def test_ratios_of_cells_that_other_programs_disturbed_are_marked(
    tmp_path: Path, share: float, marks: bool
) -> None:
    def busy(record: Record) -> Record:
        samples = [each.model_copy(update={"telemetry": {OTHERS: share}}) for each in record.samples]
        return record.model_copy(update={"samples": tuple(samples)})

    records = usual_records()
    text = compared(records, [busy(record) for record in records], tmp_path)
    assert bool(re.search(r"\d\.\d{3} ! ", text)) is marks
    assert ("! marks cells" in text) is marks
