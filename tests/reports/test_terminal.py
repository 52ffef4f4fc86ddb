from collections.abc import Callable
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from bench.records import Record
from reports import print_table
from tests.reports.fake_run import UNTRAINED, cell, ok_record, run_of, write_run
from tests.reports.fake_suites import (
    attention_records,
    encode_records,
    engine_records,
    kernel_records,
    kernel_records_on_cpu,
    run_from,
)


def printed(folder: Path, width: int) -> str:
    stream = StringIO()
    print_table(folder, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.fixture(scope="module")
def screen(run_folder: Path) -> str:
    return printed(run_folder, 100)


def test_the_summary_of_a_default_run_fits_a_hundred_columns_whole(screen: str) -> None:
    assert max(map(len, screen.splitlines())) <= 100
    assert "not shown" not in screen
    rows = [line for line in screen.splitlines() if line.startswith(("ratio_", "task_"))]
    assert len(rows) == 10, "one line a cell"


def test_constants_and_caveats_are_said_once(screen: str) -> None:
    for said_once in ("AMD EPYC 9B45", "2.13.0", "float32", "embedded clip", UNTRAINED, "repeated"):
        assert screen.count(said_once) == 1, said_once


def test_cells_that_did_not_succeed_are_rows_with_their_reason_beneath(screen: str) -> None:
    assert "ratio_0.25, chunk 8: not run" in screen
    assert "killed, probably out of memory" in screen


UNITS = {
    "chunk": "frames",
    "kept": "%",
    "gazes": "/clip",
    "gaze": "ms",
    "reconstr.": "ms",
    "end to end": "ms",
    "memory": "MiB",
    "PSNR": "dB",
}


@pytest.mark.parametrize("heading", UNITS)
def test_units_stand_under_the_headings_of_their_columns(screen: str, heading: str) -> None:
    headings, units = next(lines for lines in pairwise(screen.splitlines()) if lines[1].startswith("setting"))
    end = headings.index(f" {heading} ") + len(heading) + 1
    assert units[:end].endswith(f" {UNITS[heading]}")
    assert "times are medians in ms per frame" in screen


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_console_loses_what_matters_least_and_says_what(width: int, tmp_path: Path) -> None:
    cells = [
        cell("ratio_0.75_task_0.70", chunk, workload, dtype=dtype)
        for chunk in (4, 16)
        for workload in ("gaze", "end_to_end")
        for dtype in ("bfloat16", "float32")
    ]
    cells.append(cell("ratio_0.10", 16))
    run = run_of(cells, device="NVIDIA H200")
    screen = printed(write_run(tmp_path, run, [ok_record(which, cuda=True) for which in cells]), width)
    assert max(map(len, screen.splitlines())) <= width
    assert "not shown for want of width: energy, SSIM" in screen
    assert "end to end" in screen
    assert "PSNR" in screen


def printed_records(records: list[Record], folder: Path, width: int = 100) -> str:
    return printed(write_run(folder, run_from(records), records), width)


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize(
    "records", [kernel_records, kernel_records_on_cpu, engine_records, attention_records, encode_records]
)
def test_every_suite_fits_the_console(
    records: Callable[[], list[Record]], width: int, tmp_path: Path
) -> None:
    screen = printed_records(records(), tmp_path, width)
    assert max(map(len, screen.splitlines())) <= width
    assert "speed-up" in screen


def test_the_caption_tells_of_the_columns_that_are_shown_and_of_no_others(tmp_path: Path) -> None:
    for width, shown in ((100, False), (140, True)):
        folder = tmp_path / str(width)
        folder.mkdir()
        screen = printed_records(attention_records(), folder, width)
        assert ("error is the largest difference" in screen) is shown
        assert ("not shown for want of width: error" in screen) is not shown
        assert "gazes" not in screen
        assert "p95" not in screen


def test_each_operation_is_a_table_and_the_caption_is_said_once(tmp_path: Path) -> None:
    screen = printed_records(kernel_records(), tmp_path, 120)
    assert [line for line in screen.splitlines() if line in ("block_causal_attention", "decode_step")] == [
        "block_causal_attention",
        "decode_step",
    ]
    assert screen.count("speed-up is over the reference") == 1
    assert screen.count("in every shape") == 2
    assert "invalid (moves 9.00e+12 a second" in screen


def test_clips_and_frames_are_told_apart_where_a_table_has_both(tmp_path: Path) -> None:
    screen = printed_records(encode_records(), tmp_path)
    assert "ms/clip" in screen
    assert "ms/frame" in screen


def test_long_values_take_two_lines_only_where_they_must(tmp_path: Path) -> None:
    for width, whole in ((100, False), (160, True)):
        folder = tmp_path / str(width)
        folder.mkdir()
        screen = printed_records(attention_records(), folder, width)
        assert ("block_causal+frame_independent" in screen) is whole
