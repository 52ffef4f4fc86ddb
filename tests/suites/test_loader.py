from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autogaze.errors import InputError
from suites import WORKLOADS
from suites.axes import ENGINES
from suites.loader import check_inputs, load_suite, suite_names
from suites.settings import PUBLISHED_SETTINGS
from suites.workload import AxisValue, Inputs
from tests.bench.fake_workload import write_suite

HEAD = """
version = 1
description = "fake"
time_budget_seconds = 1
min_samples = 5
timeout_seconds = 60
[workloads]
fake = "tests.bench.fake_workload:Fake"
"""


def suite_file(folder: Path, cells: str, head: str = HEAD) -> str:
    path = folder / "mine.toml"
    path.write_text(head + cells)
    return str(path)


def test_a_block_is_the_product_of_its_lists_in_the_order_written(tmp_path: Path) -> None:
    path = suite_file(tmp_path, '[[cells]]\nworkload = "fake"\nbehaviour = ["b", "a"]\nchunk = [16, 4]')
    points = [dict(point.axes) for point in load_suite(path).points]
    assert [(axes["behaviour"], axes["chunk"]) for axes in points] == [
        ("b", 16),
        ("b", 4),
        ("a", 16),
        ("a", 4),
    ]


def test_axes_left_out_have_the_workloads_defaults(tmp_path: Path) -> None:
    (point,) = load_suite(suite_file(tmp_path, '[[cells]]\nworkload = "fake"')).points
    assert dict(point.axes) == {"behaviour": "good", "chunk": 16, "dtype": "float32", "setting": "ratio_0.25"}


def test_a_point_that_several_blocks_ask_for_is_measured_once(tmp_path: Path) -> None:
    block = '[[cells]]\nworkload = "fake"\nchunk = [2, 4]\nsetting = ["ratio_0.5", "ratio_0.50"]\n'
    assert len(load_suite(suite_file(tmp_path, block + block)).points) == 2


def test_a_single_value_needs_no_list(tmp_path: Path) -> None:
    (point,) = load_suite(suite_file(tmp_path, '[[cells]]\nworkload = "fake"\nchunk = 4')).points
    assert dict(point.axes)["chunk"] == 4


def test_an_override_replaces_its_axis_in_every_block(tmp_path: Path) -> None:
    path = suite_file(
        tmp_path, '[[cells]]\nworkload = "fake"\nchunk = [2]\n[[cells]]\nworkload = "fake"\nbehaviour = "b"'
    )
    points = load_suite(path, {"chunk": ["8", "4"]}).points
    assert [dict(point.axes)["chunk"] for point in points] == [8, 4, 8, 4]


CELLS = '[[cells]]\nworkload = "fake"\n'


@pytest.mark.parametrize(
    ("cells", "overrides", "sentence"),
    [
        ('[[cells]]\nworkload = "fakes"', {}, "unknown workload 'fakes': did you mean 'fake'"),
        (CELLS + "chunks = [2]", {}, "unknown axis of workload fake 'chunks': did you mean 'chunk'"),
        (CELLS + "chunk = [3]", {}, "unknown value of axis chunk of workload fake '3'"),
        (CELLS + 'dtype = ["float23"]', {}, "did you mean 'float32'"),
        (CELLS + 'setting = ["ratio=0.5"]', {}, "must have the form"),
        (CELLS + "chunk = []", {}, "axis chunk of workload fake has no values"),
        (CELLS + "behaviour = [[1]]", {}, "must be a word or a number"),
        (CELLS + "behaviour = [nan]", {}, "must be finite"),
        ("[[cells]]\nchunk = 2", {}, "names no workload: known are "),
        (
            CELLS,
            {"chunk": ["many"]},
            "value 'many' of axis chunk of workload fake does not fit: write it like 16",
        ),
        (CELLS, {"dtype": ["bf16"]}, "unknown value of axis dtype of workload fake 'bf16'"),
        (CELLS, {"attention": ["sdpa"]}, "unknown axis of suite mine 'attention'"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(
    tmp_path: Path, cells: str, overrides: dict[str, list[str]], sentence: str
) -> None:
    with pytest.raises(InputError) as refusal:
        load_suite(suite_file(tmp_path, cells), overrides)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("version = = 1", "is not valid TOML"),
        (HEAD.replace("min_samples = 5", ""), "'min_samples' is wrong: Field required"),
        (HEAD.replace("min_samples = 5", "min_samples = 0"), "'min_samples' is wrong"),
        (
            HEAD.replace("min_samples", "min_sample"),
            "unknown key in suite file mine.toml 'min_sample': did you mean 'min_samples'",
        ),
        (HEAD.replace("tests.bench.fake_workload:Fake", "nowhere:Fake"), "which cannot be imported"),
    ],
)
def test_a_broken_suite_file_is_refused(tmp_path: Path, head: str, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        load_suite(suite_file(tmp_path, CELLS, head))
    assert sentence in str(refusal.value)


def test_an_unknown_suite_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown suite 'smok': did you mean 'smoke'"):
        load_suite("smok")


def test_a_suite_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"suite file nowhere\.toml does not exist"):
        load_suite("nowhere.toml")


def test_the_default_suite_is_the_published_settings_and_then_the_chunk_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(WORKLOADS, "end_to_end", "tests.bench.fake_workload:Fake")
    axes = [dict(point.axes) for point in load_suite("default").points]
    assert [each["setting"] for each in axes[:7]] == [setting.name for setting in PUBLISHED_SETTINGS]
    assert [(each["setting"], each["chunk"]) for each in axes[7:]] == [
        ("ratio_0.25", chunk) for chunk in (2, 4, 8)
    ]


@pytest.mark.parametrize(("name", "points"), [("smoke", 3), ("default", 10), ("published", 46)])
def test_the_suites_of_the_project_load(monkeypatch: pytest.MonkeyPatch, name: str, points: int) -> None:
    for workload in WORKLOADS:
        monkeypatch.setitem(WORKLOADS, workload, "tests.bench.fake_workload:Fake")
    assert name in suite_names()
    assert len(load_suite(name).points) == points


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.lists(st.sampled_from((2, 4, 8, 16)), min_size=1))
def test_points_are_the_distinct_combinations_in_order(
    tmp_path: Path, behaviours: list[str], chunks: list[int]
) -> None:
    path = write_suite(tmp_path, behaviours)
    points = load_suite(str(path), {"chunk": [str(chunk) for chunk in chunks]}).points
    found = [(dict(point.axes)["behaviour"], dict(point.axes)["chunk"]) for point in points]
    assert found == list(dict.fromkeys((behaviour, chunk) for behaviour in behaviours for chunk in chunks))


NEEDY = HEAD.replace(":Fake", ":Accompanied") + '[[cells]]\nworkload = "fake"\nbehaviour = ["good", "peer"]'


def behaviours(
    folder: Path, typed: str = "", given: Sequence[str] = (), head: str = NEEDY
) -> list[AxisValue]:
    overrides = {"behaviour": typed.split(",")} if typed else {}
    return [point.axes[0][1] for point in load_suite(suite_file(folder, "", head), overrides, given).points]


def test_values_that_need_an_input_are_there_where_it_is_given(tmp_path: Path) -> None:
    assert behaviours(tmp_path) == ["good"]
    assert behaviours(tmp_path, given=["upstream"]) == ["good", "peer"]
    assert behaviours(tmp_path, "peer", given=["upstream"]) == ["peer"]


def test_a_typed_value_that_needs_an_input_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="behaviour peer needs UPSTREAM: give it, or leave peer out"):
        behaviours(tmp_path, "good,peer")


def test_an_input_that_nothing_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cell of suite mine takes UPSTREAM: leave it out"):
        behaviours(tmp_path, "good", given=["upstream"])


def test_a_suite_that_needs_an_input_everywhere_asks_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="every cell of suite mine needs UPSTREAM: give it"):
        behaviours(tmp_path, head=NEEDY.replace('"good", ', ""))


def test_inputs_are_checked_with_every_point_before_anything_runs(tmp_path: Path) -> None:
    suite = load_suite(suite_file(tmp_path, "", NEEDY), given=["upstream"])
    check_inputs(suite.points, suite.workloads, Inputs(upstream="/somewhere"))
    with pytest.raises(InputError, match="UPSTREAM /nowhere is not a checkout"):
        check_inputs(suite.points, suite.workloads, Inputs(upstream="/nowhere"))


def test_every_engine_is_measured_and_the_released_package_is_one_where_a_checkout_is_named() -> None:
    def engines(**options: Any) -> set[AxisValue]:
        return {dict(point.axes).get("engine") for point in load_suite("engines", **options).points}

    assert engines() - {None, "auto"} == set(ENGINES) - {"auto"}
    assert engines(given=["upstream"]) - engines() == {"released"}


def test_the_released_package_is_asked_for_in_cells_that_it_can_do_alone() -> None:
    suite = load_suite("engines", {"engine": ["released"], "setting": ["ratio_0.75"]}, ["upstream"])
    axes = [dict(point.axes) for point in suite.points if point.workload != "ceiling"]
    assert {point.workload for point in suite.points} == {"gaze", "ceiling"}
    assert {each["batch"] for each in axes} == {1}
    # The sizes 8 and 64 of the block of batches, and the reconstructor in two data types.
    assert suite.left_out == 2 + 2


def test_a_batch_that_was_typed_is_what_was_meant() -> None:
    suite = load_suite("engines", {"engine": ["released"], "batch": ["8"]}, ["upstream"])
    assert {dict(point.axes).get("batch", 8) for point in suite.points} == {8}


def test_a_value_that_no_workload_of_the_suite_knows_is_refused() -> None:
    with pytest.raises(InputError, match="unknown value of axis engine of workload gaze 'turbo'"):
        load_suite("engines", {"engine": ["turbo"]})
