import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.units import DASH, fixed, mean_count, mebibytes, milliseconds, number, percent, significant, text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.0285, "0.0285"),
        (9.996, "10.0"),
        (12.345, "12.3"),
        (99.96, "100"),
        (1234.5, "1234"),
        (-2.5, "-2.50"),
    ],
)
def test_three_significant_digits_without_exponent(value: float, written: str) -> None:
    assert significant(value) == written


@given(st.floats(1e-6, 1e9))
def test_rounding_to_three_digits_keeps_the_value_within_half_a_percent(value: float) -> None:
    assert float(significant(value)) == pytest.approx(value, rel=0.0051)
    assert "e" not in significant(value)


def test_units_are_applied_to_si_values() -> None:
    assert milliseconds(0.01234) == "12.3"
    assert percent(0.0528) == "5.3"
    assert mebibytes(3 * 2**20) == "3"
    assert fixed(2)(26.809) == "26.81"


def test_mean_counts_show_a_decimal_only_where_there_is_one() -> None:
    assert (mean_count(416.0), mean_count(223.75)) == ("416", "223.8")


def test_nothing_is_a_dash_and_never_a_zero() -> None:
    assert {text(None), text(""), number(None), milliseconds(None), fixed(3)(None)} == {DASH}


def test_what_is_not_finite_is_shown_as_such() -> None:
    assert fixed(2)(float("inf")) == "∞"
    assert number(float("nan")) == "nan"
