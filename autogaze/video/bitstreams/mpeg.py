"""MPEG-1, MPEG-2 and MPEG-4 Visual pictures, told packet by packet.

References: ISO/IEC 11172-2, ISO/IEC 13818-2 (6.2) and ISO/IEC 14496-2 (6.2). Reading keeps what has been read
before, so every video needs a function of its own.
"""

import re
from collections.abc import Callable

from autogaze.video.bitstreams.bits import Bits
from autogaze.video.bitstreams.pictures import DAMAGED, SEVERAL, Head, HeadOf, NotNumbered

_PICTURE, _SEQUENCE, _EXTENSION = b"\0\0\1\0", b"\0\0\1\xb3", b"\0\0\1\xb5"
_SLICE = re.compile(b"\0\0\1[\x01-\xaf]")
_INTRA, _PREDICTED, _BIDIRECTIONAL = 1, 2, 3
_FRAME = 3
"""Picture structure; others are fields."""

_VOP, _GROUP = b"\0\0\1\xb6", b"\0\0\1\xb3"


def mpeg1(extradata: bytes) -> HeadOf:
    """Return what tells the pictures of an MPEG-1 video."""
    return _mpeg12(lambda packet, at, sequence: None)


def mpeg2(extradata: bytes) -> HeadOf:
    """Return what tells the pictures of an MPEG-2 video: frames, none of them a field, with all their rows.

    A decoder returns no picture that breaks off before its last row.
    """

    def check(packet: bytes, at: int, sequence: bytes) -> None:
        extension = packet.find(_EXTENSION, at)
        if extension < 0 or len(packet) < extension + 8 or packet[extension + 4] >> 4 != 8:
            raise NotNumbered(DAMAGED)
        if packet[extension + 6] & 3 != _FRAME:
            raise NotNumbered("it has field pictures, two packets a frame")
        rows = {slice[3] for slice in _SLICE.findall(packet, extension)}
        if len(rows) != _rows(sequence) or len(rows) != max(rows):
            raise NotNumbered(DAMAGED)

    return _mpeg12(check)


def _rows(sequence: bytes) -> int:
    """Return the rows of macroblocks of a frame, from a sequence header and the extension behind it."""
    extension = sequence.find(_EXTENSION)
    if extension < 0 or len(sequence) < extension + 6:
        raise NotNumbered(DAMAGED)
    height = int.from_bytes(sequence[5:7]) & 0xFFF
    is_progressive = sequence[extension + 5] >> 3 & 1
    return -(-height // 16) if is_progressive else 2 * -(-height // 32)


def _mpeg12(check: Callable[[bytes, int, bytes], None]) -> HeadOf:
    sequences: set[bytes] = set()

    def head(packet: bytes, is_key: bool) -> Head:
        at = packet.find(_PICTURE)
        if at < 0 or len(packet) < at + 8:
            raise NotNumbered(DAMAGED)
        if packet.find(_PICTURE, at + 4) >= 0:
            raise NotNumbered(SEVERAL)
        # Decoders drop the picture they hold back where the kind of sequence changes.
        if (begin := packet.find(_SEQUENCE, 0, at)) >= 0:
            sequences.add(_unit(packet, begin) + _unit(packet, packet.find(_EXTENSION, begin, at)))
        if len(sequences) != 1:
            raise NotNumbered("its sequence parameters change")
        check(packet, at, next(iter(sequences)))
        kind = packet[at + 5] >> 3 & 7
        if kind not in (_INTRA, _PREDICTED, _BIDIRECTIONAL):
            raise NotNumbered(DAMAGED)
        return Head(key=is_key and kind == _INTRA, bidirectional=kind == _BIDIRECTIONAL)

    return head


def _unit(packet: bytes, begin: int) -> bytes:
    """Return what lies between a start code and the next; nothing if ``begin`` is negative."""
    return packet[begin : packet.find(b"\0\0\1", begin + 4)] if begin >= 0 else b""


def mpeg4(extradata: bytes) -> HeadOf:
    """Return what tells the pictures of an MPEG-4 video.

    A picture may be "not coded", which decodes to nothing, and a decoder drops B-pictures that are not shown
    between their references.
    """
    clock_bits = _clock_bits(extradata)
    base = last_base = 0
    references: list[tuple[int, int]] = []

    def head(packet: bytes, is_key: bool) -> Head:
        nonlocal base, last_base
        at = packet.find(_VOP)
        if at < 0:
            raise NotNumbered(DAMAGED)
        if packet.find(_VOP, at + 4) >= 0:
            raise NotNumbered(SEVERAL)
        if (group := packet.find(_GROUP, 0, at)) >= 0:
            base = _seconds_of_group(packet[group + 4 : at])
        bits = Bits(packet[at + 4 : at + 32])
        kind = bits.read(2) + 1
        seconds = 0
        while bits.read(1):
            seconds += 1
        if not bits.read(1):
            raise NotNumbered(DAMAGED)
        ticks = bits.read(clock_bits)
        if not bits.read(1):
            raise NotNumbered(DAMAGED)
        is_coded, is_between = bool(bits.read(1)), kind == _BIDIRECTIONAL
        if is_between:
            shown = (last_base + seconds, ticks)
            if is_coded and not (len(references) > 1 and references[-2] < shown < references[-1]):
                raise NotNumbered("a picture in it is not shown between those that it refers to")
        else:
            last_base, base = base, base + seconds
            shown = (base, ticks)
            if is_coded and references and shown <= references[-1]:
                raise NotNumbered("its pictures are not in the order of their times")
            if is_coded:
                references[:] = [*references[-1:], shown]
        return Head(is_coded, is_key and kind == _INTRA, is_between)

    return head


def _seconds_of_group(header: bytes) -> int:
    bits = Bits(header)
    hours, minutes = bits.read(5), bits.read(6)
    bits.read(1)
    return 3600 * hours + 60 * minutes + bits.read(6)


def _clock_bits(extradata: bytes) -> int:
    """Return the bits of a time increment, from the video object layer."""
    layers = [at for at in range(len(extradata) - 3) if extradata[at : at + 3] == b"\0\0\1"]
    layers = [at for at in layers if extradata[at + 3] >> 4 == 2]
    if len(layers) != 1:
        raise NotNumbered("it does not tell the clock of its pictures")
    bits = Bits(extradata[layers[0] + 4 :])
    bits.read(9)
    if bits.read(1):
        bits.read(7)
    if bits.read(4) == 15:
        bits.read(16)
    if bits.read(1):
        bits.read(3)
        if bits.read(1):
            bits.read(79)
    if bits.read(2) or not bits.read(1):
        raise NotNumbered("its pictures are not plain rectangles")
    return max(1, (bits.read(16) - 1).bit_length())
