"""Units: how numbers are rounded and written, and the dash that stands for "nothing measured"."""

import math
from collections.abc import Callable
from functools import wraps

DASH = "–"

Value = str | int | float | None
"""What a table holds before it is written: text, a number in SI units, or nothing."""

Format = Callable[[Value], str]


def text(value: Value) -> str:
    """Return the value as it stands."""
    return DASH if value is None or value == "" else str(value)


def _numeric(write: Callable[[float], str]) -> Format:
    """Make a format of a function of finite numbers."""

    @wraps(write)
    def formatted(value: Value) -> str:
        if value is None or isinstance(value, str):
            return text(value)
        if not math.isfinite(value):
            return str(float(value)).replace("inf", "∞")
        return write(value)

    return formatted


def significant(number: float, digits: int = 3) -> str:
    """Return ``digits`` significant digits, at least the whole part, and never an exponent."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.{digits - 1}e}")
    return f"{number:.{max(0, digits - 1 - math.floor(math.log10(abs(rounded))))}f}"


def fixed(decimals: int) -> Format:
    """Return a format with a fixed number of decimals."""
    return _numeric(lambda number: f"{number:.{decimals}f}")


def signed(decimals: int) -> Format:
    """Return the same for differences: with a sign either way."""
    return _numeric(lambda number: f"{number:+.{decimals}f}")


number = _numeric(significant)
"""Three significant digits."""
whole = fixed(0)
"""A count without decimals."""
mean_count = _numeric(lambda count: f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}")
"""A count that may be a mean: one decimal only where there is one."""
milliseconds = _numeric(lambda seconds: significant(1e3 * seconds))
"""Seconds, in ms."""
microseconds = _numeric(lambda seconds: significant(1e6 * seconds))
"""Seconds, in µs."""
percent = _numeric(lambda ratio: f"{100 * ratio:.1f}")
"""A ratio, in %."""
mebibytes = _numeric(lambda size: f"{size / 2**20:.0f}")
"""Bytes, in MiB."""
exponential = _numeric(lambda number: f"{number:.1e}" if number else "0")
"""Two significant digits of what spans many orders of magnitude, such as an error."""
probability = _numeric(lambda share: f"{share:.4f}" if share >= 1e-4 else "≤ 0.0001")
"""A p-value."""
tera = _numeric(lambda count: significant(count / 1e12))
"""A count, in units of 1e12."""
giga = _numeric(lambda count: significant(count / 1e9))
"""A count, in units of 1e9."""
