from reports.contents import caveats, document, header_facts, unsuccessful
from reports.document import Bullets, Paragraph, Section
from reports.results import CellResult
from tests.reports.fake_run import REPEATED, UNTRAINED


def test_what_is_the_same_for_all_cells_is_said_once(results: list[CellResult]) -> None:
    facts = dict(header_facts(results))
    assert facts["device"] == "AMD EPYC 9B45"
    assert facts["video"] == "embedded clip"
    assert facts["checkpoint"] == "embedded weights"
    assert facts["every cell"] == "workload end_to_end, dtype float32, attention sdpa, batch 1"


def test_every_caveat_is_said_once_with_its_cells(results: list[CellResult]) -> None:
    assert caveats(results) == [f"{UNTRAINED} (all measured cells)", f"{REPEATED} (ratio_0.25, chunk 4)"]


def test_few_samples_are_a_caveat(results: list[CellResult]) -> None:
    record = results[0].record
    assert record is not None
    few = record.model_copy(
        update={"samples": tuple(sample for sample in record.samples if sample.index < 2)}
    )
    found = CellResult(results[0].run, "device", results[0].cell, few)
    assert "only 2 samples: need at least 5 (ratio_0.10, chunk 16)" in caveats([found, *results[1:]])


def test_every_cell_without_success_is_named_with_its_reason(results: list[CellResult]) -> None:
    assert unsuccessful(results) == [
        "ratio_1.00, chunk 16: out of memory (killed, probably out of memory)",
        "ratio_0.25, chunk 4: invalid (the clock of the device changed by 40 % between repetitions)",
        "ratio_0.25, chunk 8: not run (the run ended before this cell)",
    ]


def test_a_report_over_several_runs_says_in_which_fields_they_differ_and_which_matter(
    results: list[CellResult], gpu_results: list[CellResult]
) -> None:
    measured = document([*results, *gpu_results]).sections[0]
    differing = measured.blocks[-1]
    assert {row[:2] for row in differing.rows} == {  # type: ignore[union-attr]
        ("device", "no"),
        ("device.name", "yes"),
        ("gpu.driver", "yes"),
    }


def test_sections_without_anything_to_say_are_left_out(gpu_results: list[CellResult]) -> None:
    titles = [section.title for section in document(gpu_results).sections]
    assert "Caveats" not in titles
    assert "Plots" not in titles
    assert titles[0] == "What was measured"


def published_section(results: list[CellResult]) -> Section:
    return next(section for section in document(results).sections if section.title == "Published elsewhere")


def test_published_figures_are_marked_as_measured_elsewhere(results: list[CellResult]) -> None:
    marks = published_section(results).blocks[-1]
    assert isinstance(marks, Bullets)
    assert any("H100 80 GB, torch 2.7.1, flash-attn 2.8.3" in item for item in marks.items)


def test_where_nothing_was_published_for_a_setting_the_report_says_so(results: list[CellResult]) -> None:
    chunk_of_two = results[7:8]
    assert published_section(chunk_of_two).blocks == (
        Paragraph("No cell has a setting and chunk size for which figures were published."),
    )
