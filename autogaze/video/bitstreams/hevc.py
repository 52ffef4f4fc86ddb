"""HEVC pictures, numbered by their slice headers (ITU-T H.265, 7.3 and 8.3.1).

A decoder silently skips pictures that refer to what comes before the point where decoding begins, be that the
start of the file, or a splice in its middle. Only the first of these is followed here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autogaze.video.bitstreams.bits import BitRows, Bits, unescaped
from autogaze.video.bitstreams.h264 import unwrapped
from autogaze.video.bitstreams.nal import NalUnits, length_size, parameter_sets
from autogaze.video.bitstreams.pictures import NotNumbered, Pictures, ranked, reordering

_RADL, _RASL, _IDR, _CRA = (6, 7), (8, 9), (19, 20), 21
_VPS, _SPS, _PPS = 32, 33, 34
_HARMLESS = (*range(10), *_IDR, _CRA, _VPS, _SPS, _PPS, 35, 38, 39, 40, 62, 63)
"""Pictures, parameter sets, delimiters, filler, SEI, and units left to others (Dolby Vision)."""

KEPT = np.isin(np.arange(256) >> 1 & 63, (_VPS, _SPS, _PPS))


@dataclass(frozen=True)
class _Parameters:
    """What parameter sets say of slice headers and of reordering."""

    poc_bits: int
    colour_planes: bool
    reordered: int
    extra_bits: dict[int, int]
    """Bits in front of the slice type, by the number of the picture parameter set."""


def units_before(extradata: bytes) -> int:
    """Return the number of length bytes before each NAL unit; 0 for start codes."""
    return length_size(extradata, 21)


def pictures(units: NalUnits, extradata: bytes, is_delayed: bool) -> Pictures:
    """Number the pictures of a whole stream.

    Raises:
        NotNumbered: where packets are not proved to give one frame each.
    """
    layer = (units.heads[:, 0] & 1) << 5 | units.heads[:, 1] >> 3
    kinds = units.heads[:, 0] >> 1
    if not np.isin(kinds[layer == 0], _HARMLESS).all():
        raise NotNumbered("it is spliced, or has parts beyond plain HEVC pictures")
    parameters = _parameters(units, kinds, extradata)
    coded = np.flatnonzero((kinds < 32) & (layer == 0))
    firsts = coded[units.heads[coded, 2] >> 7 == 1]
    packets = int(units.packet[-1]) + 1
    if not np.array_equal(units.packet[firsts], np.arange(packets)) or (
        coded[np.unique(units.packet[coded], return_index=True)[1]] != firsts
    ).any():
        raise NotNumbered("its packets do not hold one whole picture each")
    kinds, heads = kinds[firsts], units.heads[firsts]
    idr = np.isin(kinds, _IDR)
    key = idr | (kinds == _CRA)
    if not key[0]:
        raise NotNumbered("it begins in the middle of a group of pictures")
    place = _display(heads, kinds, idr, key, parameters)
    shown = ~(np.isin(kinds, _RASL) & (np.cumsum(key) == 1))
    order = ranked(place, shown)
    if reordering(order) > parameters.reordered:
        raise NotNumbered("its pictures are reordered more than it says")
    return Pictures(order, key & units.key[firsts])


def _display(
    heads: npt.NDArray[np.uint8],
    kinds: npt.NDArray[np.uint8],
    idr: npt.NDArray[np.bool_],
    key: npt.NDArray[np.bool_],
    parameters: _Parameters,
) -> npt.NDArray[np.int64]:
    """Return numbers by which pictures are shown, read from their first slice headers."""
    bits = BitRows(heads[:, 2:34])
    bits.read(1)
    if bits.read(1, where=key)[1:].any():
        raise NotNumbered("it throws pictures away unseen")
    sets = bits.ue()
    if not np.isin(sets, tuple(parameters.extra_bits)).all():
        raise NotNumbered("a slice in it names parameters that it does not have")
    for number, extra in parameters.extra_bits.items():
        for _ in range(extra):
            bits.read(1, where=sets == number)
    if (bits.ue() > 2).any():
        raise NotNumbered("a slice in it is of no known type")
    bits.read(2 * parameters.colour_planes)
    low = bits.read(parameters.poc_bits, where=~idr)
    is_lowest_layer = heads[:, 1] & 7 == 1
    is_reference = (kinds >= 16) | (kinds % 2 == 1)
    is_leading = np.isin(kinds, _RADL + _RASL)
    counts = unwrapped(low, idr, is_lowest_layer & is_reference & ~is_leading, 1 << parameters.poc_bits)
    return np.cumsum(idr) * (1 << 40) + counts


def _parameters(units: NalUnits, kinds: npt.NDArray[np.uint8], extradata: bytes) -> _Parameters:
    sets = parameter_sets(extradata, 22, is_hevc=True)
    sets += [units.payloads[place] for place in np.flatnonzero(np.isin(kinds, (_SPS, _PPS))).tolist()]
    sets = [unit.rstrip(b"\0") for unit in sets if len(unit) > 2 and not _layer(unit)]
    sequences = {unit for unit in sets if unit[0] >> 1 == _SPS}
    if len(sequences) != 1:
        raise NotNumbered("its sequence parameters change")
    poc_bits, colour_planes, reordered = _parse_sequence(Bits(unescaped(sequences.pop()[2:])))
    extra_bits: dict[int, int] = {}
    by_id: dict[int, bytes] = {}
    for unit in {unit for unit in sets if unit[0] >> 1 == _PPS}:
        bits = Bits(unescaped(unit[2:]))
        number = bits.ue()
        if by_id.setdefault(number, unit) != unit:
            raise NotNumbered("its picture parameters change")
        bits.ue(), bits.read(1)
        if bits.read(1):
            raise NotNumbered("it may have pictures that are not to be shown")
        extra_bits[number] = bits.read(3)
    if not extra_bits:
        raise NotNumbered("it has no picture parameters")
    return _Parameters(poc_bits, colour_planes, reordered, extra_bits)


def _layer(unit: bytes) -> int:
    return (unit[0] & 1) << 5 | unit[1] >> 3


def _parse_sequence(bits: Bits) -> tuple[int, bool, int]:
    """Return the bits of an order count, whether colour planes are apart, and by how many frames pictures are
    reordered."""
    bits.read(4)
    highest = bits.read(3)
    bits.read(1)
    _skip_profile(bits, highest)
    bits.ue()
    colour_planes = bits.ue() == 3 and bool(bits.read(1))
    bits.ue(), bits.ue()
    if bits.read(1):
        for _ in range(4):
            bits.ue()
    bits.ue(), bits.ue()
    poc_bits = bits.ue() + 4
    if poc_bits > 16:
        raise NotNumbered("its sequence parameters make no sense")
    reordered = 0
    for _ in range(highest + 1 if bits.read(1) else 1):
        bits.ue()
        reordered = bits.ue()
        bits.ue()
    return poc_bits, colour_planes, reordered


def _skip_profile(bits: Bits, highest: int) -> None:
    bits.read(96)
    present = [(bits.read(1), bits.read(1)) for _ in range(highest)]
    if highest:
        bits.read(2 * (8 - highest))
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
