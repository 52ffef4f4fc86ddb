"""The compile check fails what spills more or takes more shared memory than its row, and what has no row."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kernels import compilation
from kernels.compilation import Row, complaints, read_table, renewed, write_table
from kernels.gpus import GPUS

SHARED_BYTES = {f"sm_{gpu.capability}": gpu.shared_bytes for gpu in GPUS}
ROW = Row(
    triton="3.7.1", target="sm_86", kernel="combine", dtype="float32", case="batch=1",
    shared=40000, registers=64, spilled=0, instructions=900, programs=6, bytes=12345,
)  # fmt: skip
SPILLING = replace(ROW, kernel="attend", spilled=8, why="one register, once a program")


def why(found: Row, *table: Row) -> list[str]:
    return list(complaints([found], table, SHARED_BYTES).values())


def test_a_launch_like_its_row_passes_and_one_that_takes_less():
    assert why(ROW, ROW) == []
    assert why(replace(ROW, shared=30000, registers=32, instructions=2000), ROW) == []


@pytest.mark.parametrize(
    ("found", "row", "reason"),
    [
        (replace(ROW, shared=40016), ROW, "40000 B of shared memory are allowed"),
        (replace(ROW, spilled=8), ROW, "0 B may be spilled"),
        (replace(SPILLING, spilled=16), SPILLING, "8 B may be spilled"),
        (SPILLING, replace(SPILLING, why=""), "the table does not say why that spill is accepted"),
        (replace(ROW, shared=152 * 1024), replace(ROW, shared=152 * 1024), "the device has 101376 B"),
    ],
)
def test_a_launch_that_takes_more_than_its_row_or_its_device_has_fails(found, row, reason):
    assert [reason in each for each in why(found, row)] == [True]


@pytest.mark.parametrize("change", [{"kernel": "another"}, {"target": "sm_90"}, {"case": "batch=64"}])
def test_a_launch_that_is_not_in_the_table_fails_and_so_does_a_row_without_a_launch(change):
    found = replace(ROW, **change)
    result = complaints([found], [ROW], SHARED_BYTES)
    assert result == {found: "not in the table; --write adds it", ROW: "no launch is like this any more"}


def test_a_triton_that_the_table_does_not_know_may_spill_nothing_nor_ask_for_more_than_there_is():
    newer = replace(ROW, triton="9.0.0")
    assert why(newer, ROW) == []
    assert why(replace(newer, spilled=4), ROW) == ["0 B may be spilled"]
    assert why(replace(newer, shared=100 * 1024), ROW) == ["the device has 101376 B of shared memory"]


def test_a_part_of_the_types_is_held_against_its_own_rows():
    half = replace(ROW, dtype="bfloat16")
    assert complaints([half], [ROW, half], SHARED_BYTES, ["bfloat16"]) == {}


def test_writing_keeps_other_versions_other_types_and_the_reasons_for_spills_that_have_not_grown():
    older, half = replace(ROW, triton="3.6.0"), replace(ROW, dtype="bfloat16")
    less, more = replace(SPILLING, spilled=4, why=""), replace(SPILLING, spilled=12, why="")
    table = [older, half, ROW, SPILLING]
    assert set(renewed(table, [ROW, less], ["float32"])) == {
        older, half, ROW, replace(less, why=SPILLING.why)
    }  # fmt: skip
    assert more in renewed(table, [more], ["float32"])


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    write_table([SPILLING, ROW], tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv") == [SPILLING, ROW]
    assert read_table(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("found", "code", "line"),
    [
        (ROW, 0, "triton 3.7.1, 5 GPUs, float32, bfloat16, 1 launches: every launch fits"),
        (replace(ROW, spilled=8), 1, "1 fail"),
    ],
)
def test_the_command_says_which_launch_fails_and_exits_with_1(
    found, code, line, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(compilation, "compile_everything", lambda dtypes, count: [found])
    monkeypatch.setattr(compilation, "read_table", lambda: [ROW])
    assert compilation.main([]) == code
    printed = capsys.readouterr().out.splitlines()
    assert line in printed[-1]
    assert printed[0].startswith("FAIL" if code else "ok")


def test_the_table_that_is_here_is_of_the_pinned_triton_on_five_gpus_and_nothing_spills():
    pinned = re.search(r"^triton==(\S+)", Path("constraints.txt").read_text(), re.M)
    assert pinned
    rows = [row for row in read_table() if row.triton == pinned[1]]
    assert {row.target for row in rows} == set(SHARED_BYTES)
    assert {row.dtype for row in rows} == set(compilation.DTYPES)
    assert not [row for row in rows if row.spilled]
    assert not [row for row in rows if row.shared > SHARED_BYTES[row.target]]
    assert all(row.bytes and row.instructions and row.programs for row in rows)


def test_no_batch_from_1_to_64_makes_another_launch_of_a_decode_step():
    """Else a video's sums would depend on its company. The check tries each; alike ones have one row."""
    assert {row.case.split()[0] for row in read_table() if row.case.startswith("batch")} == {"batch=1"}
