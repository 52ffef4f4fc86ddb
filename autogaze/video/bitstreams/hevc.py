"""HEVC pictures, numbered by their slice headers (ITU-T H.265, 8.3.1 and 8.3.2).

A decoder silently skips pictures whose references are missing: those that precede the point where decoding
begins, be that the start of the file or a splice in its middle, and those behind a lost packet. Only the
first of these is followed here.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from autogaze.video.bitstreams.hevc_parameters import (
    PPS,
    SPS,
    Parameters,
    Slice,
    parse_parameters,
    parse_slice,
)
from autogaze.video.bitstreams.nal import NalUnits, first_slices, length_size, parameter_sets
from autogaze.video.bitstreams.pictures import NotNumbered, Pictures, ranked, reordering

_RADL, _RASL, _IDR, _CRA = (6, 7), (8, 9), (19, 20), 21
_HARMLESS = (*range(10), *_IDR, _CRA, 32, SPS, PPS, 35, 38, 39, 40, 62, 63)
"""Pictures, parameter sets, delimiters, filler, SEI, and units left to others (Dolby Vision)."""

_PERIOD = 1 << 40
"""Between the places of pictures of consecutive coded sequences; more than any order count."""

KEPT = np.isin(np.arange(256) >> 1 & 63, (SPS, PPS))


def units_before(extradata: bytes) -> int:
    """Return the number of length bytes before each NAL unit; 0 for start codes."""
    return length_size(extradata, 21)


def pictures(units: NalUnits, extradata: bytes, is_delayed: bool) -> Pictures:
    """Number the pictures of a whole stream.

    Raises:
        NotNumbered: where packets are not proved to give one frame each.
    """
    layers = (units.heads[:, 0] & 1) << 5 | units.heads[:, 1] >> 3
    kinds = units.heads[:, 0] >> 1
    if not np.isin(kinds[layers == 0], _HARMLESS).all():
        raise NotNumbered("it is spliced, or has parts beyond plain HEVC pictures")
    sets = parameter_sets(extradata, 22, is_hevc=True)
    sets += [units.payloads[place] for place in np.flatnonzero(np.isin(kinds, (SPS, PPS))).tolist()]
    parameters = parse_parameters(sets)
    firsts = first_slices(units, (kinds < 32) & (layers == 0), units.heads[:, 2] >> 7 == 1)
    kinds, heads = kinds[firsts], units.heads[firsts]
    key = np.isin(kinds, _IDR) | (kinds == _CRA)
    if not key[0]:
        raise NotNumbered("it begins in the middle of a group of pictures")
    shown = ~(np.isin(kinds, _RASL) & (np.cumsum(key) == 1))
    places = _places(kinds.tolist(), heads, shown.tolist(), parameters)
    order = ranked(np.fromiter(places, np.int64, len(kinds)), shown)
    if reordering(order) > parameters.sequence.reordered:
        raise NotNumbered("its pictures are reordered more than it says")
    return Pictures(order, key & units.key[firsts])


def _places(
    kinds: list[int], heads: npt.NDArray[np.uint8], shown: list[bool], parameters: Parameters
) -> Iterator[int]:
    """Yield numbers by which pictures are shown; see that each has what it refers to."""
    poc_range = 1 << parameters.sequence.poc_bits
    anchor, period = 0, 0
    decoded: set[int] = set()
    for number, (kind, head, is_shown) in enumerate(zip(kinds, heads, shown, strict=True)):
        header = parse_slice(head[2:].tobytes(), kind, parameters)
        if kind in _IDR or number == 0:
            period, anchor = period + _PERIOD, period + _PERIOD
            decoded = set()
        if header.discards and number:
            raise NotNumbered("it throws pictures away unseen")
        step = (header.low - anchor) % poc_range
        place = anchor + step - (poc_range if step >= poc_range // 2 else 0)
        if number == 0:
            place = period + header.low
        if kind < 16 and is_shown:
            _check_references(header, place, decoded, poc_range)
        if is_shown:
            decoded.add(place)
        is_lowest = int(head[1]) & 7 == 1
        if is_lowest and kind not in _RADL + _RASL and (kind >= 16 or kind % 2):
            anchor = place
        yield place


def _check_references(header: Slice, place: int, decoded: set[int], poc_range: int) -> None:
    if not decoded.issuperset(place + distance for distance in header.short_term):
        raise NotNumbered("a picture in it refers to one that is missing")
    if header.long_term and not {known % poc_range for known in decoded}.issuperset(header.long_term):
        raise NotNumbered("a picture in it refers to one that is missing")
