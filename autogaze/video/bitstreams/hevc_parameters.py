"""HEVC parameter sets and slice headers, as far as they say which picture is which and refers to which others
(ITU-T H.265, 7.3)."""

from dataclasses import dataclass

from autogaze.video.bitstreams.bits import Bits, unescaped
from autogaze.video.bitstreams.pictures import NotNumbered

SPS, PPS = 33, 34
"""NAL unit types."""

References = tuple[tuple[int, bool], ...]
"""Distances in picture order of a set's pictures, and whether the current picture itself refers to them:
those before it, the nearest first, and then those behind it."""

_MOST_REFERENCES = 16


@dataclass(frozen=True)
class Sequence:
    """A sequence parameter set."""

    poc_bits: int
    colour_planes: bool
    reordered: int
    """Frames by which pictures are reordered at most."""
    sets: tuple[References, ...]
    has_long_term: bool
    long_term: tuple[tuple[int, bool], ...]
    """Low bits of the order counts that slices may choose from, and whether they are referred to."""


@dataclass(frozen=True)
class Parameters:
    """What slice headers are read by."""

    sequence: Sequence
    extra_bits: dict[int, int]
    """Bits in front of the slice type, by the number of the picture parameter set."""


@dataclass(frozen=True)
class Slice:
    """The first slice header of a picture."""

    discards: bool
    """Whether pictures not shown yet are thrown away."""
    low: int
    """Low bits of the picture order count; 0 for one that begins the count anew."""
    short_term: tuple[int, ...] = ()
    """Distances to the pictures it refers to."""
    long_term: tuple[int, ...] = ()
    """Low bits of the order counts of those it refers to by these."""


def parse_parameters(units: list[bytes]) -> Parameters:
    """Read the parameter sets among NAL units; raise :class:`NotNumbered` where one takes another's place."""
    units = [unit.rstrip(b"\0") for unit in units if len(unit) > 2 and not layer(unit)]
    sequences = {unit for unit in units if unit[0] >> 1 == SPS}
    if len(sequences) != 1:
        raise NotNumbered("its sequence parameters change")
    extra_bits: dict[int, int] = {}
    by_id: dict[int, bytes] = {}
    for unit in {unit for unit in units if unit[0] >> 1 == PPS}:
        bits = Bits(unescaped(unit[2:]))
        number = bits.ue()
        if by_id.setdefault(number, unit) != unit:
            raise NotNumbered("its picture parameters change")
        bits.ue(), bits.read(1)
        if bits.read(1):
            raise NotNumbered("it may have pictures that are not to be shown")
        extra_bits[number] = bits.read(3)
    return Parameters(_parse_sequence(Bits(unescaped(sequences.pop()[2:]))), extra_bits)


def layer(unit: bytes) -> int:
    """Return the layer of a NAL unit; 0 is the plain video."""
    return (unit[0] & 1) << 5 | unit[1] >> 3


def parse_slice(head: bytes, kind: int, parameters: Parameters) -> Slice:
    """Read the first slice header of a picture, from behind its NAL unit's two bytes."""
    sequence, bits = parameters.sequence, Bits(unescaped(head))
    bits.read(1)
    discards = bool(bits.read(1)) if 16 <= kind <= 23 else False
    number = bits.ue()
    if number not in parameters.extra_bits:
        raise NotNumbered("a slice in it names parameters that it does not have")
    bits.read(parameters.extra_bits[number])
    if bits.ue() > 2:
        raise NotNumbered("a slice in it is of no known type")
    bits.read(2 * sequence.colour_planes)
    if kind in (19, 20):
        return Slice(discards, 0)
    low = bits.read(sequence.poc_bits)
    if not bits.read(1):
        short_term = _parse_set(bits, sequence.sets, in_slice=True)
    else:
        short_term = sequence.sets[_choice(bits, len(sequence.sets))]
    long_term = _parse_long_term(bits, sequence) if sequence.has_long_term else ()
    return Slice(discards, low, tuple(distance for distance, used in short_term if used), long_term)


def _choice(bits: Bits, among: int) -> int:
    chosen = bits.read((among - 1).bit_length()) if among > 1 else 0
    if chosen >= among:
        raise NotNumbered("a slice in it chooses what it does not have")
    return chosen


def _parse_long_term(bits: Bits, sequence: Sequence) -> tuple[int, ...]:
    known = bits.ue() if sequence.long_term else 0
    total = known + bits.ue()
    if total > _MOST_REFERENCES:
        raise NotNumbered("a slice in it refers to too many pictures")
    lows = []
    for number in range(total):
        if number < known:
            low, used = sequence.long_term[_choice(bits, len(sequence.long_term))]
        else:
            low, used = bits.read(sequence.poc_bits), bool(bits.read(1))
        if bits.read(1):
            bits.ue()
        if used:
            lows.append(low)
    return tuple(lows)


def _parse_set(bits: Bits, sets: tuple[References, ...], in_slice: bool = False) -> References:
    """Read a set of short-term references (7.3.7), the next after ``sets``."""
    if sets and bits.read(1):
        return _predicted_set(bits, sets, in_slice)
    before, behind = bits.ue(), bits.ue()
    if before + behind > _MOST_REFERENCES:
        raise NotNumbered("a picture in it refers to too many others")
    found: list[tuple[int, bool]] = []
    for sign, number in ((-1, before), (1, behind)):
        distance = 0
        for _ in range(number):
            distance += sign * (bits.ue() + 1)
            found.append((distance, bool(bits.read(1))))
    return tuple(found)


def _predicted_set(bits: Bits, sets: tuple[References, ...], in_slice: bool) -> References:
    """Read a set told by its difference from one before it (equations 7-61 and 7-62)."""
    back = bits.ue() + 1 if in_slice else 1
    if back > len(sets):
        raise NotNumbered("a picture in it refers to a set of others that is missing")
    is_negative = bits.read(1)
    shift = (bits.ue() + 1) * (-1 if is_negative else 1)
    found: list[tuple[int, bool]] = []
    for distance in (*(distance for distance, _ in sets[len(sets) - back]), 0):
        used = bool(bits.read(1))
        if (used or bits.read(1)) and distance + shift:
            found.append((distance + shift, used))
    return tuple(sorted(found, key=lambda reference: (reference[0] > 0, abs(reference[0]))))


def _parse_sequence(bits: Bits) -> Sequence:
    bits.read(4)
    highest = bits.read(3)
    bits.read(1)
    _skip_profile(bits, highest)
    bits.ue()
    chroma = bits.ue()
    colour_planes = chroma == 3 and bool(bits.read(1))
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
    for _ in range(6):
        bits.ue()
    if bits.read(1) and bits.read(1):
        _skip_scaling(bits)
    bits.read(2)
    if bits.read(1):
        bits.read(8)
        bits.ue(), bits.ue(), bits.read(1)
    sets: tuple[References, ...] = ()
    for _ in range(min(bits.ue(), 64)):
        sets += (_parse_set(bits, sets),)
    has_long_term = bool(bits.read(1))
    number = min(bits.ue(), 32) if has_long_term else 0
    long_term = tuple((bits.read(poc_bits), bool(bits.read(1))) for _ in range(number))
    return Sequence(poc_bits, colour_planes, reordered, sets, has_long_term, long_term)


def _skip_profile(bits: Bits, highest: int) -> None:
    bits.read(96)
    present = [(bits.read(1), bits.read(1)) for _ in range(highest)]
    if highest:
        bits.read(2 * (8 - highest))
    for profile, level in present:
        bits.read(88 * profile + 8 * level)


def _skip_scaling(bits: Bits) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.read(1):
                bits.ue()
                continue
            if size > 1:
                bits.se()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                bits.se()
