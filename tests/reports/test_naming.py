import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.naming import (
    cell_label,
    constant_axes,
    merged,
    setting_kind,
    usual_axes,
    varying_axes,
    which,
)
from reports.results import CellResult
from tests.reports.fake_suites import attention_records, kernel_records_on_cpu, results_from


def test_cells_are_named_by_the_axes_that_vary(results: list[CellResult]) -> None:
    assert varying_axes(results) == ["setting", "chunk"]
    assert constant_axes(results) == {
        "workload": "end_to_end",
        "dtype": "float32",
        "attention": "sdpa",
        "batch": 1,
    }
    assert cell_label(results[0], results) == "ratio_0.10, chunk 16"
    assert cell_label(results[0], results, "setting") == "chunk 16"
    assert cell_label(results[0], results[:1]) == "end_to_end"


def test_axes_that_most_cells_leave_alone_are_said_by_the_others_only() -> None:
    results = results_from(attention_records())
    assert usual_axes(results) == {"batch": 1, "dtype": "float32", "padding": 0.0}
    assert cell_label(results[0], results) == "eager, block_causal, tokens 1024"
    assert cell_label(results[-1], results) == "flash_attention_2, block_causal, tokens 1024, bfloat16"


def test_an_axis_is_usual_only_where_more_than_half_of_the_cells_agree() -> None:
    results = results_from(attention_records())
    half = [result for result in results if result.axis("tokens") == 4240 or result.axis("batch") == 4]
    assert usual_axes(half) == {}


def test_axes_of_video_cells_are_always_said(results: list[CellResult]) -> None:
    assert usual_axes(results) == {}


def test_a_few_cells_are_named_and_more_are_described() -> None:
    results = results_from(kernel_records_on_cpu())
    refused = [result for result in results if not result.ok]
    assert which(refused[:1], results) == "block_causal_attention, triton, size 0, float32"
    assert which(refused, results) == "12 of 24 cells: triton"
    assert which(refused[:4], results) == "4 of 24 cells: block_causal_attention, triton, size 0 to 1"
    assert which(results, results) == "24 of 24 cells"


@pytest.mark.parametrize(
    ("said", "as_one"),
    [
        (["used 49% of the CPUs", "used 8% of the CPUs"], "used 8% to 49% of the CPUs"),
        (["only 3 samples: need 5", "only 4 samples: need 5"], "only 3 to 4 samples: need 5"),
        (["1.2e+12 a second", "9.0e+11 a second"], "9.0e+11 to 1.2e+12 a second"),
        (["no sm_90 here", "no sm_90 here"], "no sm_90 here"),
    ],
)
def test_sentences_that_differ_in_numbers_become_one_with_the_range(said: list[str], as_one: str) -> None:
    assert merged(zip(said, "ab")) == [(as_one, ["a", "b"])]


def test_names_that_hold_digits_are_no_numbers() -> None:
    said = ["needs flash_attention_2", "needs flash_attention_3"]
    assert [sentence for sentence, _ in merged(zip(said, "ab"))] == said


@given(st.lists(st.text(alphabet="ab 01.%_", max_size=8)))
def test_merging_loses_no_item_and_leaves_a_lone_sentence_as_it_is(said: list[str]) -> None:
    found = merged((sentence, place) for place, sentence in enumerate(said))
    assert sorted(place for _, places in found for place in places) == list(range(len(said)))
    assert all(sentence == said[places[0]] for sentence, places in found if len(places) == 1)


def test_a_setting_with_a_requirement_is_of_another_kind_than_a_budget() -> None:
    assert setting_kind("ratio_0.75") == "budget"
    assert setting_kind("ratio_0.75_task_0.70") == setting_kind("task_0.70") == "loss requirement"
