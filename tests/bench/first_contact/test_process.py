"""Every item gets its answer, whatever becomes of the process that asks."""

import json
from pathlib import Path

import pytest

from bench.first_contact.__main__ import main
from bench.first_contact.item import Item
from bench.first_contact.lines import BEGUN, Lines, answers, left_open, read_lines
from bench.first_contact.process import STICKY, ask_all

FAKE = "tests.bench.first_contact.fake_items"


@pytest.fixture(autouse=True)
def from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))


def test_a_crash_or_a_hang_fails_its_item_and_another_process_goes_on_behind_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "contact.jsonl"
    assert main(["--part", f"{FAKE}:items", "--out", str(out)]) == 1
    found = answers(read_lines(out))
    assert {name: line["state"] for name, line in found.items()} == {
        "first": "ok",
        "infinite": "wrong",
        "skips": "skipped",
        "fails": "failed",
        "second": "ok",
        "dies": "failed",
        "third": "ok",
        "hangs": "failed",
        "last": "ok",
    }
    assert found["fails"]["reason"] == "RuntimeError: something broke"
    assert found["dies"]["reason"] == "the process died of SIGABRT"
    assert found["hangs"]["reason"] == "it took longer than it may"
    assert found["infinite"]["error"] == "inf"
    assert found["last"]["device"] == "cpu"
    assert found["first"]["pid"] == found["second"]["pid"] != found["third"]["pid"]
    assert "4 ok, 1 wrong, 1 skipped, 3 failed" in capsys.readouterr().out


def test_a_process_that_cannot_begin_is_an_answer_and_no_endless_loop(tmp_path: Path) -> None:
    assert main(["--part", f"{FAKE}:broken", "--out", str(tmp_path / "contact.jsonl")]) == 1
    (line,) = read_lines(tmp_path / "contact.jsonl")
    assert (line["item"], line["reason"]) == ("the process itself", "the process ended with exit code 1")


def test_a_process_ends_behind_an_error_that_stays_and_the_next_asks_no_item_twice(tmp_path: Path) -> None:
    asked: list[str] = []

    def item(name: str, fails: bool = False) -> Item:
        def ask() -> dict[str, object]:
            asked.append(name)
            if fails:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return {}

        return Item(name, ask)

    items = [item("a"), item("b", fails=True), item("c"), item("d", fails=True), item("e")]
    out = tmp_path / "contact.jsonl"
    assert ask_all(items, out, lambda: True) == STICKY
    assert asked == ["a", "b"]
    assert ask_all(items, out, lambda: True) == STICKY
    assert ask_all(items, out, lambda: False) == 0
    assert asked == ["a", "b", "c", "d", "e"]


def test_kinds_of_items_that_end_their_process_again_and_again_are_left(tmp_path: Path) -> None:
    asked: list[str] = []

    def item(name: str) -> Item:
        def ask() -> dict[str, object]:
            asked.append(name)
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        return Item(name, ask)

    items = [item(f"{kind} {number}") for kind in ("step", "time") for number in range(5)]
    out = tmp_path / "contact.jsonl"
    while ask_all(items, out, lambda: True) == STICKY:
        pass
    assert asked == ["step 0", "step 1", "step 2", "time 0", "time 1", "time 2"]
    assert answers(read_lines(out))["step 4"]["reason"] == "the last 3 items of this kind ended their process"


def test_lines_go_on_behind_one_that_was_torn(tmp_path: Path) -> None:
    out = tmp_path / "contact.jsonl"
    lines = Lines(out)
    lines.write("a", "ok", value=1.5)
    lines.write("b", BEGUN)
    lines.close()
    out.write_bytes(out.read_bytes() + b'{"item": "b", "sta')
    assert left_open(read_lines(out)) == "b"
    lines = Lines(out)
    lines.write("b", "failed")
    lines.close()
    assert [json.loads(line) for line in out.read_text().splitlines()] == read_lines(out)
    assert left_open(read_lines(out)) is None
    assert list(answers(read_lines(out))) == ["a", "b"]
