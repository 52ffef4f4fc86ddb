"""Names of runs, as people type them."""

import re
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.run_names import find_run, runs_in
from tests.bench import builders

IDS = {
    "20260101T000000Z-smoke-cpu-1a2b": "2026-01-01T00:00:00+00:00",
    "20260102T000000Z-smoke-cpu-3c4d": "2026-01-02T00:00:00+00:00",
    "20260103T000000Z-engines-h100-5e6f": "2026-01-03T00:00:00+00:00",
}
FIRST, SECOND, THIRD = IDS


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for identity, created in IDS.items():
        run = builders.run([builders.cell()], identity).model_copy(update={"created": created})
        builders.write(run, [], tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("latest", THIRD),
        ("latest~0", THIRD),
        ("latest~1", SECOND),
        ("latest~2", FIRST),
        (SECOND, SECOND),
        ("3c4d", SECOND),
        ("20260101", FIRST),
        ("engines", THIRD),
    ],
)
def test_a_run_is_found_by_what_people_type(results: Path, name: str, found: str) -> None:
    assert find_run(name, results) == results / found


def test_a_folder_is_a_run_wherever_it_lies(results: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "none"
    assert find_run(str(results / FIRST), elsewhere) == results / FIRST


def test_an_end_that_one_run_has_wins_over_parts_that_others_have(results: Path) -> None:
    builders.write(builders.run([], "20260104T000000Z-smoke-3c4d-7a8b"), [], results)
    assert find_run("3c4d", results) == results / SECOND


def test_a_name_that_fits_several_is_refused_with_them(results: Path) -> None:
    sentence = re.escape(f"'smoke' fits 2 runs in {results}: {SECOND}, {FIRST}; type more of the id")
    with pytest.raises(InputError, match=sentence):
        find_run("smoke", results)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("latest~3", f"latest~3 is not there: in .* there are {THIRD}, {SECOND}, {FIRST}; measure first"),
        ("latest~x", "no run is called 'latest~x': in .* there are"),
        ("0000000000", "no run is called '0000000000'"),
        ("", "no run is called ''"),
    ],
)
def test_a_name_that_fits_none_is_refused_with_the_runs_that_there_are(
    results: Path, name: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        find_run(name, results)


def test_a_folder_that_is_no_run_is_refused(results: Path) -> None:
    with pytest.raises(InputError, match=r"report is not a run: it has no readable run\.json"):
        find_run(str(results / "report"), results)


def test_where_nothing_was_measured_there_are_no_runs(tmp_path: Path) -> None:
    assert runs_in(tmp_path / "nowhere") == []
    with pytest.raises(InputError, match=r"latest is not there: in .* there are no runs; measure first"):
        find_run("latest", tmp_path / "nowhere")


def test_a_results_folder_of_another_owner_is_refused_in_a_sentence(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(
        InputError, match=r"results folder .* cannot be read \(Permission denied\): name another"
    ):
        runs_in(results)


def test_a_run_that_cannot_be_read_is_the_oldest(results: Path) -> None:
    (results / THIRD / "run.json").write_text("{")
    assert [run.name for run in runs_in(results)] == [SECOND, FIRST, THIRD]
