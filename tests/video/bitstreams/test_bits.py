import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze.video.bitstreams.bits import WINDOW, BitRows, Bits, unescaped
from autogaze.video.bitstreams.pictures import NotNumbered

HEADERS = st.lists(st.binary(min_size=WINDOW, max_size=WINDOW), min_size=1, max_size=6)
FIELDS = st.lists(st.one_of(st.integers(0, 16), st.just("ue")), max_size=6)


@given(headers=HEADERS, fields=FIELDS)
def test_many_headers_are_read_as_one_by_one(headers, fields):
    alone = [Bits(unescaped(header).ljust(WINDOW, b"\0") + bytes(8)) for header in headers]
    try:
        expected = [[bits.ue() if field == "ue" else bits.read(field) for bits in alone] for field in fields]
    except NotNumbered:
        return
    if any(value >= 1 << 31 for values in expected for value in values):
        return
    rows = BitRows(np.stack([np.frombuffer(header, np.uint8) for header in headers]))
    try:
        found = [rows.ue() if field == "ue" else rows.read(field) for field in fields]
    except NotNumbered:
        # One number of 32 zeros and more, or the end of the window, is enough to refuse them all.
        assert any(b"\0\0" in header for header in headers)
        return
    assert [values.tolist() for values in found] == expected


def test_rows_that_are_not_asked_stay_where_they_are():
    rows = BitRows(np.full((2, WINDOW), 0b10100000, np.uint8))
    assert rows.read(3, where=np.array([True, False])).tolist() == [0b101, 0]
    assert rows.read(2).tolist() == [0b00, 0b10]


def test_numbers_of_any_length_are_read():
    # 1, 010, 011, 00100: zero to three (H.264, table 9-2).
    bits = Bits(bytes([0b10100110, 0b01000000]))
    assert [bits.ue() for _ in range(4)] == [0, 1, 2, 3]
    signed = Bits(bytes([0b10100110, 0b01000000]))
    assert [signed.se() for _ in range(4)] == [0, 1, -1, 2]


def test_a_header_that_ends_too_early_is_not_numbered():
    with pytest.raises(NotNumbered, match="ends too early"):
        Bits(b"\0").ue()
