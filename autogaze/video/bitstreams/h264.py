"""H.264 pictures, numbered by their slice headers (ITU-T H.264, 7.3 and 8.2.1).

A packet is known to give one frame where it holds one whole frame, no field, and where the decoder is told
how far frames are reordered: one that has to guess may drop those that come too late.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from autogaze.video.bitstreams.bits import BitRows, Bits, unescaped
from autogaze.video.bitstreams.nal import NalUnits, first_slices, length_size, parameter_sets, split_units
from autogaze.video.bitstreams.pictures import NotNumbered, Pictures, ranked, reordering

_SLICE, _IDR, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
_IS_HARMLESS = np.isin(np.arange(32), (_SLICE, _IDR, _SEI, _SPS, _PPS, 9, 12))
"""By NAL unit type: these, delimiters and filler."""

_WITH_CHROMA_FORMAT = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Values of profile_idc."""

_RECOVERY_POINT = 6
"""SEI payload type."""

KEPT = np.isin(np.arange(256) & 31, (_SEI, _SPS, _PPS))


@dataclass(frozen=True)
class _Sequence:
    """What a sequence parameter set says of slice headers and of reordering."""

    frame_num_bits: int
    poc_type: int
    poc_bits: int
    frames_only: bool
    colour_planes: bool
    reordered: int | None
    """Frames by which pictures are reordered at most; None where it does not say."""
    picture_sets: tuple[int, ...] = ()
    """Numbers of the picture parameter sets that slices may name."""


def units_before(extradata: bytes) -> int:
    """Return the number of length bytes before each NAL unit; 0 for start codes."""
    return length_size(extradata, 4)


def is_reference(packet: bytes, length_size: int) -> bool:
    """Return whether other pictures may refer to that of a packet; False where nothing tells."""
    if length_size:
        at = 0
        while at + length_size < len(packet):
            unit = packet[at + length_size]
            if unit & 31 in (_SLICE, _IDR):
                return unit >> 5 & 3 != 0
            at += length_size + int.from_bytes(packet[at : at + length_size])
        return False
    slices = (unit[0] for unit in split_units(packet) if unit and unit[0] & 31 in (_SLICE, _IDR))
    return next(slices, 0) >> 5 & 3 != 0


def pictures(units: NalUnits, extradata: bytes, is_delayed: bool) -> Pictures:
    """Number the pictures of a whole stream.

    Args:
        is_delayed: whether the decoder is known to hold back a frame at least.

    Raises:
        NotNumbered: where packets are not proved to give one frame each.
    """
    kinds = units.heads[:, 0] & 31
    if (units.heads[:, 0] >> 7).any() or not _IS_HARMLESS[kinds].all():
        raise NotNumbered("it has parts beyond plain H.264 frames")
    sequence = _sequence(units, kinds, extradata)
    firsts = first_slices(units, (kinds == _SLICE) | (kinds == _IDR), units.heads[:, 1] >> 7 == 1)
    idr = kinds[firsts] == _IDR
    place = _display(units.heads[firsts], idr, sequence)
    key = idr | _recovered(units, kinds, firsts, idr)
    if not key.any():
        raise NotNumbered("it has no picture that decoding may begin with")
    # What precedes the first key picture, in the file or on the screen, lacks references and is dropped.
    first = int(np.argmax(key))
    order = ranked(place, (place >= place[first]) & (np.arange(len(place)) >= first))
    held_back = sequence.reordered if sequence.reordered is not None else int(is_delayed)
    if reordering(order) > held_back:
        raise NotNumbered("its pictures are reordered more than it says")
    return Pictures(order, key & units.key[firsts])


def _display(
    heads: npt.NDArray[np.uint8], idr: npt.NDArray[np.bool_], sequence: _Sequence
) -> npt.NDArray[np.int64]:
    """Return numbers by which pictures are shown, read from their first slice headers."""
    bits = BitRows(heads[:, 1:33])
    bits.read(1)  # the first macroblock is number 0
    if bits.ue().max() > 9:
        raise NotNumbered("a slice in it is of no known type")
    picture_sets = bits.ue()
    if not np.logical_or.reduce([picture_sets == known for known in sequence.picture_sets]).all():
        raise NotNumbered("a slice in it names parameters that it does not have")
    bits.read(2 * sequence.colour_planes)
    bits.read(sequence.frame_num_bits)
    if not sequence.frames_only and bits.read(1).any():
        raise NotNumbered("it has field pictures, two packets a frame")
    period = np.cumsum(idr)
    if sequence.poc_type == 2:
        return np.arange(len(heads))
    bits.ue(where=idr)
    low = bits.read(sequence.poc_bits)
    is_reference = heads[:, 0] >> 5 & 3 != 0
    counts = _unwrapped(low, idr, is_reference, 1 << sequence.poc_bits)
    places: npt.NDArray[np.int64] = counts + period * (1 << 40)
    return places


def _unwrapped(
    low: npt.NDArray[np.int64],
    restart: npt.NDArray[np.bool_],
    is_anchor: npt.NDArray[np.bool_],
    period: int,
) -> npt.NDArray[np.int64]:
    """Return picture order counts of which only the remainder by ``period`` is coded (H.264, 8.2.1.1).

    Each is the nearest to that of the last picture before it that ``is_anchor``; counts begin anew at a
    ``restart``, which is an anchor.
    """
    is_anchor = is_anchor | restart
    is_anchor[0] = True
    anchors = np.flatnonzero(is_anchor)
    steps = (np.diff(low[anchors], prepend=low[anchors[0]]) + period // 2) % period - period // 2
    counts = np.cumsum(steps)
    begins = np.maximum.accumulate(np.where(restart[anchors], np.arange(len(anchors)), 0))
    counts = counts - counts[begins] + low[anchors][begins]
    # The anchor of a picture is the last one before it.
    before = np.maximum(np.cumsum(is_anchor) - 1 - is_anchor, 0)
    offset = (low - low[anchors][before] + period // 2) % period - period // 2
    result: npt.NDArray[np.int64] = counts[before] + offset
    result[anchors] = counts
    return result


def _recovered(
    units: NalUnits,
    kinds: npt.NDArray[np.integer[Any]],
    firsts: npt.NDArray[np.int64],
    idr: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Return which pictures say that decoding from them is exact at once."""
    exact = np.zeros(len(firsts), bool)
    candidates = units.key & (kinds == _SEI) & ~idr[units.packet]
    for place in np.flatnonzero(candidates).tolist():
        exact[units.packet[place]] |= _is_exact_recovery(units.payloads[place])
    return exact


def _is_exact_recovery(unit: bytes) -> bool:
    payload, at = unescaped(unit[1:]), 0
    while at + 2 < len(payload):
        kind, at = _long_number(payload, at)
        size, at = _long_number(payload, at)
        if kind == _RECOVERY_POINT:
            bits = Bits(payload[at : at + size])
            return bits.ue() == 0 and bits.read(2) == 0b10  # no frames to wait for, exact, no broken link
        at += size
    return False


def _long_number(payload: bytes, at: int) -> tuple[int, int]:
    """Return a number coded as 255 + 255 + ... + rest, and where it ends."""
    number = 0
    while at < len(payload) and payload[at] == 255:
        number, at = number + 255, at + 1
    return number + (payload[at] if at < len(payload) else 0), at + 1


def _sequence(units: NalUnits, kinds: npt.NDArray[np.integer[Any]], extradata: bytes) -> _Sequence:
    sets = parameter_sets(extradata, 5, is_hevc=False)
    sets += [units.payloads[place] for place in np.flatnonzero((kinds == _SPS) | (kinds == _PPS)).tolist()]
    sequences = {unit.rstrip(b"\0") for unit in sets if unit and unit[0] & 31 == _SPS}
    if len(sequences) != 1:
        raise NotNumbered("its sequence parameters change")
    by_id: dict[int, bytes] = {}
    for unit in {unit.rstrip(b"\0") for unit in sets if unit and unit[0] & 31 == _PPS}:
        if by_id.setdefault(Bits(unescaped(unit[1:])).ue(), unit) != unit:
            raise NotNumbered("its picture parameters change")
    if not by_id:
        raise NotNumbered("it has no picture parameters")
    return replace(_parse_sequence(Bits(unescaped(sequences.pop()[1:]))), picture_sets=tuple(by_id))


def _parse_sequence(bits: Bits) -> _Sequence:
    profile = bits.read(8)
    bits.read(16)
    bits.ue()
    colour_planes = False
    if profile in _WITH_CHROMA_FORMAT:
        chroma = bits.ue()
        colour_planes = chroma == 3 and bool(bits.read(1))
        bits.ue(), bits.ue(), bits.read(1)
        if bits.read(1):
            for matrix in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    _skip_scaling(bits, 16 if matrix < 6 else 64)
    frame_num_bits = bits.ue() + 4
    poc_type = bits.ue()
    if poc_type not in (0, 2):
        raise NotNumbered("it orders its pictures in a way that is not followed here")
    poc_bits = bits.ue() + 4 if poc_type == 0 else 0
    bits.ue(), bits.read(1), bits.ue(), bits.ue()
    frames_only = bool(bits.read(1))
    if not frames_only:
        bits.read(1)
    bits.read(1)
    if bits.read(1):
        for _ in range(4):
            bits.ue()
    reordered = _parse_usability(bits) if bits.read(1) else None
    if max(frame_num_bits, poc_bits) > 16:
        raise NotNumbered("its sequence parameters make no sense")
    return _Sequence(frame_num_bits, poc_type, poc_bits, frames_only, colour_planes, reordered)


def _skip_scaling(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _parse_usability(bits: Bits) -> int | None:
    """Read video usability information (annex E); return by how many frames pictures are reordered."""
    if bits.read(1) and bits.read(8) == 255:
        bits.read(32)
    if bits.read(1):
        bits.read(1)
    if bits.read(1):
        bits.read(4)
        if bits.read(1):
            bits.read(24)
    if bits.read(1):
        bits.ue(), bits.ue()
    if bits.read(1):
        bits.read(65)
    has_buffer = False
    for _ in range(2):
        if bits.read(1):
            _skip_buffer_model(bits)
            has_buffer = True
    bits.read(has_buffer)
    bits.read(1)
    if not bits.read(1):
        return None
    bits.read(1)
    for _ in range(4):
        bits.ue()
    return bits.ue()


def _skip_buffer_model(bits: Bits) -> None:
    schedules = bits.ue() + 1
    bits.read(8)
    for _ in range(schedules):
        bits.ue(), bits.ue(), bits.read(1)
    bits.read(20)
