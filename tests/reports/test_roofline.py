import pytest

from bench.records import Record
from reports.charts import MissingDataError
from reports.roofline import roofline
from reports.style import styled
from tests.reports.fake_suites import (
    ARITHMETIC,
    BANDWIDTH,
    ceiling_records,
    encode_records,
    engine_records,
    kernel_records,
    results_from,
)


def test_each_cell_is_a_named_point_under_both_ceilings() -> None:
    results = [result for result in results_from(kernel_records()) if result.ok]
    with styled():
        axes = roofline(results).axes
        assert [one.get_title(loc="left") for one in axes[:2]] == [
            "block_causal_attention, by size",
            "decode_step, by size",
        ]
        named = [text.get_text() for one in axes[:2] for text in one.texts]
        assert sorted(named) == sorted(str(result.axis("size")) for result in results)
        for line in axes[1].get_lines():
            for x, y in zip(line.get_xdata(), line.get_ydata()):
                assert y <= 1.01 * min(BANDWIDTH * x, max(ARITHMETIC.values()))


def test_a_roof_is_bandwidth_up_to_the_ridge_and_flat_beyond() -> None:
    with styled():
        figure = roofline([result for result in results_from(kernel_records()) if result.ok])
        roofs = {line.get_label(): line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3}
        for dtype, ceiling in ARITHMETIC.items():
            line = roofs[f"measured at best, {dtype}"]
            low, ridge, _ = line.get_xdata()
            assert list(line.get_ydata()) == pytest.approx([low * BANDWIDTH, ceiling, ceiling])
            assert ridge == pytest.approx(ceiling / BANDWIDTH)
        assert {figure.axes[0].get_xscale(), figure.axes[0].get_yscale()} == {"log"}


def test_engines_stand_under_ceilings_that_their_own_run_measured() -> None:
    with styled():
        axes = roofline(results_from([*ceiling_records(), *engine_records()])).axes
        assert [one.get_title(loc="left") for one in axes] == ["Engines, by setting"]
        labels = {line.get_label() for line in axes[0].get_lines()}
    assert {f"measured at best, {dtype}" for dtype in ARITHMETIC} <= labels


def test_engines_stand_under_ceilings_that_another_run_measured_on_the_device() -> None:
    engines, kernels = results_from(engine_records(), run_id="a"), results_from(kernel_records(), run_id="b")
    with styled():
        titles = [axes.get_title(loc="left") for axes in roofline([*engines, *kernels]).axes]
    assert "Engines, by setting, NVIDIA H200" in titles
    elsewhere = results_from(kernel_records(), run_id="b", device="NVIDIA H100")
    with styled():
        titles = [axes.get_title(loc="left") for axes in roofline([*engines, *elsewhere]).axes]
    assert not any(title.startswith("Engines") for title in titles)


@pytest.mark.parametrize("records", [engine_records(), encode_records(), []])
def test_without_a_ceiling_there_is_no_roofline(records: list[Record]) -> None:
    with pytest.raises(MissingDataError, match="do at best"):
        roofline(results_from(records) if records else [])
