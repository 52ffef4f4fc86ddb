"""What a device can do at best, as cells of a run."""

import itertools
from typing import Any

import pytest
import torch

from suites import ceilings
from suites.ceilings import Ceiling, Ceilings, measure_ceilings
from suites.loader import load_suite, workload_class
from suites.workload import Inputs


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time; what they measure is no ceiling."""
    monkeypatch.setattr(ceilings, "_COPY_BYTES", {"cpu": 2**16})
    monkeypatch.setattr(ceilings, "_MATRIX", {"cpu": 32})


def test_it_is_registered() -> None:
    assert workload_class("ceiling") is Ceiling


def test_rates_are_work_over_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of eight rounds the third is fastest: a quarter of a second for the copy, half of one for the product.
    rounds = [1.0, 1.0, 0.25, *[1.0] * 5, 1.0, 1.0, 0.5, *[1.0] * 5]
    moments = iter([moment for seconds in rounds for moment in (0.0, seconds)])
    monkeypatch.setattr(ceilings.time, "perf_counter", lambda: next(moments))
    found = measure_ceilings(torch.device("cpu"), torch.float32)
    assert found == Ceilings(2 * 2**16 / 0.25, 2 * 32**3 / 0.5)


@pytest.mark.parametrize(("seconds", "size"), [(0.001, 24), (1.0, 4)])
def test_a_product_that_takes_long_is_not_made_larger(
    monkeypatch: pytest.MonkeyPatch, seconds: float, size: int
) -> None:
    monkeypatch.setattr(ceilings, "_MATRIX", {"cpu": 24})
    monkeypatch.setattr(ceilings, "_SMALLEST_MATRIX", 4)
    moments = itertools.count()
    monkeypatch.setattr(ceilings.time, "perf_counter", lambda: next(moments) * seconds)
    found = measure_ceilings(torch.device("cpu"), torch.float16)
    assert found.flops_per_second == pytest.approx(2 * size**3 / seconds)


def test_the_best_of_all_repetitions_is_kept_where_reports_look_for_it() -> None:
    workload = Ceiling({"dtype": "float32"}, Inputs())
    measured: Any = workload.run()
    assert measured.bytes_per_second > 0
    assert measured.flops_per_second > 0
    for ceiling in (Ceilings(5e9, 1e9), Ceilings(4e9, 2e9)):
        workload.quality(ceiling)
    assert workload.details == {"ceiling.bytes_per_second": 5e9, "ceiling.flops_per_second": 2e9}


def test_every_precision_of_the_engines_has_its_roof() -> None:
    points = [(point.workload, dict(point.axes)) for point in load_suite("engines").points]
    roofs = {axes["dtype"] for workload, axes in points if workload == "ceiling"}
    assert roofs == {axes["dtype"] for workload, axes in points if workload != "ceiling"}
