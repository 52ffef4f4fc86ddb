import pytest
import torch

from suites.outlook import KINDS, Effort
from suites.prices import Price, measure_prices, seconds_of, slow_remarks

CPU = torch.device("cpu")


def test_every_kind_of_work_has_a_price_on_a_cpu() -> None:
    prices = measure_prices(CPU, ["float32"], KINDS)
    kinds = {name.partition(".")[0] for name in prices}
    assert kinds == set(KINDS)
    assert all(0 < price.best <= price.usual for price in prices.values())


def test_only_what_is_asked_for_is_measured() -> None:
    assert set(measure_prices(CPU, ["bfloat16"], ["row_flops"])) == {
        "row_flops.float32",
        "row_flops.bfloat16",
    }


def test_efforts_cost_their_amount_at_the_price_of_their_format() -> None:
    prices = {
        "flops.float32": Price(1.0, 2.0),
        "flops.float16": Price(10.0, 20.0),
        "frames_read": Price(0.5, 0.5),
    }
    efforts = (Effort(flops=3), Effort("float16", flops=1), Effort("float16", frames_read=2))
    assert seconds_of(efforts, prices) == Price(3 + 10 + 1, 6 + 20 + 1)


def test_what_has_no_price_costs_nothing() -> None:
    assert seconds_of((Effort(flops=3),), {}) == Price(0.0, 0.0)


def test_an_effort_taken_twice_is_twice_the_work_in_the_same_format() -> None:
    assert Effort("float16", flops=3, frames_read=1) * 2 == Effort("float16", flops=6, frames_read=2)


def test_a_slow_number_format_is_named_with_its_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"float32": 1.0, "bfloat16": 2.9, "float16": 18.0}
    monkeypatch.setattr("suites.prices._product_seconds", lambda device, dtype: seconds[dtype])
    assert slow_remarks(CPU, seconds) == {
        "float16": "slow: matrix products take 18 times as long as in float32"
    }
