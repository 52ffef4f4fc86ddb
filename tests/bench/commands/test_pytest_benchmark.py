import json
from pathlib import Path
from typing import Any

import pytest

from autogaze.errors import InputError
from bench import journal
from bench.commands.pytest_benchmark import import_results
from bench.compare import compare
from reports.results import load_results


def benchmark(name: str, seconds: list[float], **changes: Any) -> dict[str, Any]:
    """Return an entry as pytest-benchmark writes it, as far as it is read."""
    entry = {
        "group": None,
        "name": name,
        "fullname": f"tests/microbench/test_kernels.py::{name}",
        "params": None,
        "extra_info": {},
        "stats": {"median": 1.0, "rounds": len(seconds), "data": seconds, "iterations": 1},
    }
    return entry | changes


def write(path: Path, *benchmarks: dict[str, Any], **changes: Any) -> Path:
    machine = {
        "system": "Linux",
        "python_version": "3.12.3",
        "cpu": {"brand_raw": "a good processor", "count": 8},
    }
    document = {
        "machine_info": machine,
        "commit_info": {"id": "abc", "dirty": False},
        "benchmarks": list(benchmarks),
        "datetime": "2026-01-01T00:00:00+00:00",
        "version": "5.1.0",
    }
    path.write_text(json.dumps(document | changes))
    return path


def imported(path: Path) -> Path:
    return import_results(path, path.parent / "results", ("bench", "import"))


def test_each_benchmark_is_a_cell_and_each_round_a_sample(tmp_path: Path) -> None:
    step = benchmark(
        "test_step[400]",
        [0.25, 0.5],
        params={"cached": 400, "shape": [2, 3]},
        extra_info={"flops": 7, "form": "reference"},
    )
    folder = imported(write(tmp_path / "r.json", step, benchmark("test_gather", [1.0])))
    run, (first, second) = journal.read_run(folder)
    assert run.suite == "microbench"
    assert run.created == "2026-01-01T00:00:00+00:00"
    assert first.cell.axes == {"benchmark": "kernels.step", "cached": 400, "shape": "[2, 3]"}
    assert [sample.seconds for sample in first.samples] == [0.25, 0.5]
    assert first.counters == {"flops": 7.0}
    assert first.details == {"form": "reference"}
    assert second.cell.axes == {"benchmark": "kernels.gather"}
    for name in ("run.json", "journal.jsonl", "samples.parquet", "frames.parquet"):
        assert (folder / name).stat().st_size
    (step_result, _) = load_results([folder])
    assert step_result.median("end_to_end") == 0.375
    assert step_result.rate("flops") == 7 / 0.375


def test_benchmarks_of_like_name_in_different_classes_are_cells_of_their_own(tmp_path: Path) -> None:
    entries = [
        benchmark("test_step[a::b]", [1.0], fullname=f"tests/test_kernels.py::{name}::test_step[a::b]")
        for name in ("TestGather", "TestAttention")
    ]
    run, _ = journal.read_run(imported(write(tmp_path / "r.json", *entries)))
    assert [cell.axes["benchmark"] for cell in run.cells] == [
        "kernels.TestGather.step",
        "kernels.TestAttention.step",
    ]


def test_a_round_of_several_calls_is_said_to_be_one(tmp_path: Path) -> None:
    many = benchmark("test_many", [0.5], stats={"data": [0.5], "iterations": 20})
    (_, (record,)) = journal.read_run(imported(write(tmp_path / "r.json", many)))
    assert record.notes == ("a sample is the mean of 20 calls",)
    assert record.elapsed_seconds == 10.0


def test_the_environment_is_this_projects_where_the_file_has_it(tmp_path: Path) -> None:
    ours = {"machine_info": {"environment": {"device.name": "cpu", "torch.version": "2.13.0"}}}
    run, _ = journal.read_run(imported(write(tmp_path / "a.json", benchmark("test_a", [1.0]), **ours)))
    assert run.environment.fields == {"device.name": "cpu", "torch.version": "2.13.0"}
    theirs = {"machine_info": {"environment": {"PATH": ["a"]}, "cpu": {"brand_raw": "a good processor"}}}
    for name, changes in (("b", {}), ("c", theirs)):
        run, _ = journal.read_run(
            imported(write(tmp_path / f"{name}.json", benchmark("test_a", [1.0]), **changes))
        )
        assert run.environment.fields["cpu.model"] == "a good processor"
        assert run.environment.fields["git.commit"] == "abc"


def test_imported_runs_are_compared_like_others(tmp_path: Path) -> None:
    before, after = (
        imported(write(tmp_path / f"{name}.json", benchmark("test_a", [seconds + i / 1e4 for i in range(8)])))
        for name, seconds in (("before", 0.1), ("after", 0.2))
    )
    assert compare(before, after).exit_code == 1
    again = compare(before, before)
    assert again.exit_code == 3
    assert again.undecided[0].undecided == (
        "end_to_end: a run has no processor time, and the change is below 1.5 ×",
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("not JSON", "is not JSON: name one that pytest-benchmark has written"),
        ("[1, 2]", "is not a result of pytest-benchmark .its outermost value: .*--benchmark-json"),
        (
            '{"benchmarks": [{"name": "a", "fullname": "a", "stats": {"data": [0.1, 0.0]}}], '
            '"machine_info": {}, "datetime": "", "version": ""}',
            r"not a result of pytest-benchmark .benchmarks\.0\.stats\.data\.1: .* greater than 0",
        ),
        ('{"results": []}', "is not a result of pytest-benchmark .benchmarks: Field required"),
        (None, "cannot be read .No such file or directory.: name one that make microbench"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        imported(path)
    assert not (tmp_path / "results").exists()


def test_a_file_with_nothing_to_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no benchmark"):
        imported(write(tmp_path / "r.json"))
    with pytest.raises(InputError, match=r"test_a .* has no times of its rounds: write the file with"):
        imported(write(tmp_path / "r.json", benchmark("test_a", [], stats={"median": 1.0})))
    with pytest.raises(InputError, match=r"holds microbench.benchmark=kernels.a. twice"):
        imported(write(tmp_path / "r.json", benchmark("test_a", [1.0]), benchmark("test_a", [2.0])))


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (
            benchmark("test_a", [1.0], extra_info={"flops": 10**400}),
            r"flops of benchmark .*test_a .*\(beyond all",
        ),
        (benchmark("test_a", [1.0], extra_info={"flops": float("nan")}), r"no amount of work \(not a number"),
        (
            benchmark("test_a", [], stats={"data": [1.0], "iterations": 10**400}),
            "stats.iterations: .* less than",
        ),
        (benchmark("test_a", [1e308, 1e308]), r"stats.data.0: .* less than"),
        (benchmark("test_\ud800", [1.0]), r"not JSON that can be read \(.*surrogates"),
    ],
    ids=["digits", "nan", "iterations", "seconds", "no text"],
)
def test_numbers_that_nothing_computes_with_are_refused(
    tmp_path: Path, entry: dict[str, Any], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        imported(write(tmp_path / "r.json", entry))


def test_numbers_of_thousands_of_digits_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", benchmark("test_a", [1.0], extra_info={"flops": "here"}))
    path.write_text(path.read_text().replace('"here"', "9" * 5000))
    with pytest.raises(InputError, match=r"not JSON that can be read \(.*5000 digits"):
        imported(path)
