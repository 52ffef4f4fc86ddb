import shlex
from collections.abc import Callable

import pytest

from bench.records import CPU_OTHERS, Record
from reports.document import Bullets, Heading, Paragraph, Section, notes
from reports.results import CellResult, results_of
from reports.sections import caveats, document, header_facts, reading, unsuccessful
from reports.summaries import groups
from reports.tables import summary_table
from tests.reports.fake_run import REPEATED, UNTRAINED, cell, run_of
from tests.reports.fake_suites import (
    attention_records,
    encode_records,
    engine_records,
    kernel_records,
    kernel_records_on_cpu,
    results_from,
)


def test_what_is_the_same_for_all_cells_is_said_once(results: list[CellResult]) -> None:
    facts = dict(header_facts(results))
    assert facts["device"] == "AMD EPYC 9B45"
    assert facts["video"] == "embedded clip"
    assert facts["checkpoint"] == "embedded weights"
    assert facts["every cell"] == "workload end_to_end, dtype float32, attention sdpa, batch 1"


def test_a_cpu_is_named_by_its_model_and_a_gpu_by_its_name(gpu_results: list[CellResult]) -> None:
    cells = [result.cell for result in gpu_results]
    on_cpu = results_of(run_of(cells, device="cpu"), [], "cpu")
    assert dict(header_facts(on_cpu))["device"] == "cpu (AMD EPYC 9B45)"
    assert dict(header_facts(gpu_results))["device"] == "NVIDIA H200"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("make", "bench", "SUITE=smoke"), "make bench SUITE=smoke"),
        (("make", "bench", "VIDEO=my clip.mp4"), "make bench VIDEO='my clip.mp4'"),
        (
            ("python", "-m", "bench", "run", "--video", "it's.mp4"),
            "python -m bench run --video 'it'\"'\"'s.mp4'",
        ),
        (("/somewhere/bench/__main__.py", "run", "--suite", "smoke"), "python -m bench run --suite smoke"),
    ],
)
def test_the_command_of_a_run_can_be_pasted(command: tuple[str, ...], text: str) -> None:
    run = run_of([cell("ratio_0.10", 16)]).model_copy(update={"command": command})
    said = dict(header_facts(results_of(run, [], "")))["command"]
    assert said == text
    assert shlex.split(str(said))[-1] == command[-1]


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


def sections(records: list[Record]) -> dict[str, Section]:
    return {section.title: section for section in document(results_from(records)).sections}


def test_cells_refused_for_like_reasons_are_one_line() -> None:
    assert unsuccessful(results_from(kernel_records_on_cpu())) == [
        f"6 of 24 cells: {operation}, triton: unsupported "
        f"(the triton form of {operation} needs a CUDA device and this is cpu)"
        for operation in ("block_causal_attention", "decode_step")
    ]


def test_notes_that_differ_in_a_number_are_one_line_with_its_range() -> None:
    results = [
        CellResult(
            result.run,
            result.label,
            result.cell,
            result.record.model_copy(update={"notes": (f"other programs used {30 + place}% of the CPUs",)}),
        )
        for place, result in enumerate(results_from(kernel_records()))
        if result.record is not None
    ]
    assert caveats(results) == ["other programs used 30% to 53% of the CPUs (all measured cells)"]


@pytest.mark.parametrize("records", [kernel_records, attention_records])
def test_a_report_on_parts_says_nothing_of_clips_patches_or_pictures(
    records: Callable[[], list[Record]],
) -> None:
    found = sections(records())
    assert not {"Quality", "Published elsewhere"} & found.keys()
    assert not {"video", "checkpoint"} & {name for name, _ in header_facts(results_from(records()))}
    said = " ".join(reading(groups(results_from(records()))))
    assert "Speed-up" in said
    assert not any(word in said for word in ("clip", "patches", "PSNR", "launch"))


def test_the_encoder_has_clips_and_no_pictures() -> None:
    found = sections(encode_records())
    assert not {"Quality", "Published elsewhere"} & found.keys()
    assert ("video", "embedded clip") in header_facts(results_from(encode_records()))


def test_engines_stand_beside_what_was_published() -> None:
    assert "Published elsewhere" in sections(engine_records())


def test_each_operation_has_a_table_under_its_name_and_the_notes_follow_the_last() -> None:
    blocks = sections(kernel_records())["Summary"].blocks
    assert [block.text for block in blocks if isinstance(block, Heading)] == [
        "block_causal_attention",
        "decode_step",
    ]
    known = [block.text for block in blocks if isinstance(block, Paragraph)]
    assert sum("speed-up is over the reference" in text for text in known) == 1


def test_cells_of_several_kinds_have_tables_of_their_own(results: list[CellResult]) -> None:
    mixed = [*results, *results_from(attention_records())]
    summary = next(section for section in document(mixed).sections if section.title == "Summary")
    assert [block.text for block in summary.blocks if isinstance(block, Heading)] == ["Pipeline", "Attention"]


def disturbed(records: list[Record], share: float) -> list[Record]:
    return [
        record.model_copy(update={"details": {**record.details, CPU_OTHERS: share}}) for record in records
    ]


def test_a_report_begins_with_the_share_that_other_programs_had() -> None:
    first, *_ = document(results_from(disturbed(kernel_records(), 0.31))).sections
    assert isinstance(first.blocks[0], Paragraph)
    assert first.blocks[0].text.startswith("Other programs used 31% of the CPUs during 24 of 24 cells")
    first, *_ = document(results_from(disturbed(kernel_records(), 0.09))).sections
    assert not isinstance(first.blocks[0], Paragraph)


@pytest.mark.parametrize(("share", "marks"), [(0.31, True), (0.09, False)])
def test_rows_and_ratios_of_disturbed_cells_are_marked(share: float, marks: bool) -> None:
    (group, *_) = groups(results_from(disturbed(kernel_records(), share)))
    table = summary_table(group)
    keys = [column.key for column in table.columns]
    assert ("other_programs" in keys) is marks
    speed_ups = [row[keys.index("speed_up")] for row in table.formatted()]
    assert any(each.endswith(" !") for each in speed_ups) is marks
    assert all(each.endswith(" !") is marks for each in speed_ups if each != "–")
    assert ("! marks cells" in notes([table])) is marks
