"""Headers of codecs whose packets are told one by one: VP8, VP9, AV1, and some that have key frames only.

Each function returns the :class:`~autogaze.video.bitstreams.pictures.Head` of a packet, or raises
:class:`~autogaze.video.bitstreams.pictures.NotNumbered` where it is not proved to decode to one frame or
none.
"""

from collections.abc import Callable, Mapping

from autogaze.video.bitstreams.bits import Bits
from autogaze.video.bitstreams.mpeg import mpeg1, mpeg2, mpeg4
from autogaze.video.bitstreams.pictures import DAMAGED, SEVERAL, Head, HeadOf, NotNumbered


def _vp8(packet: bytes, is_key: bool) -> Head:
    if len(packet) < 3:
        raise NotNumbered(DAMAGED)
    is_first = not packet[0] & 1
    if is_first and packet[3:6] != b"\x9d\x01\x2a":
        raise NotNumbered(DAMAGED)
    return Head(shown=bool(packet[0] >> 4 & 1), key=is_key and is_first)


def _vp9(packet: bytes, is_key: bool) -> Head:
    """VP9 bitstream specification, 6.2 and annex B; a superframe may hold hidden frames before the shown."""
    frames = [Bits(frame[:2]) for frame in _vp9_frames(packet)]
    shown = 0
    is_first = False
    for number, bits in enumerate(frames):
        if bits.read(2) != 2:
            raise NotNumbered(DAMAGED)
        if bits.read(2) == 3:
            bits.read(1)
        if bits.read(1):
            shown += 1
            continue
        is_inter, is_shown = bits.read(1), bits.read(1)
        shown += is_shown
        is_first |= number == 0 and not is_inter and bool(is_shown)
    if shown > 1:
        raise NotNumbered(SEVERAL)
    return Head(shown=shown == 1, key=is_key and is_first)


def _vp9_frames(packet: bytes) -> list[bytes]:
    marker = packet[-1]
    if marker >> 5 != 0b110:
        return [packet]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = 2 + count * width
    if len(packet) < index or packet[-index] != marker:
        return [packet]
    sizes = [
        int.from_bytes(packet[at : at + width], "little")
        for at in range(len(packet) - index + 1, len(packet) - 1, width)
    ]
    frames, at = [], 0
    for size in sizes:
        frames.append(packet[at : at + size])
        at += size
    if 0 in sizes or at > len(packet) - index:
        raise NotNumbered(DAMAGED)
    return frames


_AV1_SEQUENCE, _AV1_DELIMITER, _AV1_FRAME_HEADER, _AV1_FRAME = 1, 2, 3, 6


def _av1(packet: bytes, is_key: bool) -> Head:
    """AV1 bitstream specification, 5.3 to 5.9: units of a packet, of which one frame is shown."""
    shown, frames = 0, 0
    has_sequence = is_first = False
    for kind, payload in _av1_units(packet):
        if kind == _AV1_SEQUENCE:
            has_sequence = True
            if not payload or payload[0] >> 3 & 1:
                raise NotNumbered("it is a still picture")
        if kind in (_AV1_FRAME_HEADER, _AV1_FRAME):
            bits = Bits(payload[:1])
            frames += 1
            if bits.read(1):
                shown += 1
                continue
            is_inter, is_shown = bits.read(2), bits.read(1)
            shown += is_shown
            is_first |= frames == 1 and not is_inter and bool(is_shown)
    if shown != 1:
        raise NotNumbered("a packet in it does not show one picture")
    return Head(key=is_key and has_sequence and is_first)


def _av1_units(packet: bytes) -> list[tuple[int, bytes]]:
    units, at = [], 0
    while at < len(packet):
        header = packet[at]
        kind, has_extension, has_size = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        if header >> 7 or not has_size or len(packet) < at + 2 + has_extension:
            raise NotNumbered(DAMAGED)
        if has_extension and packet[at + 1] >> 3 & 3:
            raise NotNumbered("it has several layers of pictures")
        at += 1 + has_extension
        size = shift = 0
        while at < len(packet):
            byte = packet[at]
            size |= (byte & 127) << shift
            shift, at = shift + 7, at + 1
            if byte < 128:
                break
        if at + size > len(packet):
            raise NotNumbered(DAMAGED)
        units.append((kind, packet[at : at + size]))
        at += size
    return units


def _mjpeg(packet: bytes, is_key: bool) -> Head:
    at = 2
    if packet[:2] != b"\xff\xd8":
        raise NotNumbered(DAMAGED)
    while packet[at : at + 2] != b"\xff\xda":
        if at + 4 > len(packet) or packet[at] != 255:
            raise NotNumbered(DAMAGED)
        at += 2 + int.from_bytes(packet[at + 2 : at + 4])
    if b"\xff\xd8" in packet[at:]:
        raise NotNumbered(SEVERAL)
    return Head(key=is_key)


def _prores(packet: bytes, is_key: bool) -> Head:
    if packet[4:8] != b"icpf" or int.from_bytes(packet[:4]) > len(packet):
        raise NotNumbered(DAMAGED)
    return Head(key=is_key)


def _ffv1(packet: bytes, is_key: bool) -> Head:
    return Head(key=is_key)


def _always(head: HeadOf) -> Callable[[bytes], HeadOf]:
    return lambda extradata: head


HEADS: Mapping[str, Callable[[bytes], HeadOf]] = {
    "mpeg1video": mpeg1,
    "mpeg2video": mpeg2,
    "mpeg4": mpeg4,
    "vp8": _always(_vp8),
    "vp9": _always(_vp9),
    "av1": _always(_av1),
    "mjpeg": _always(_mjpeg),
    "prores": _always(_prores),
    "ffv1": _always(_ffv1),
}
"""Codec to what makes its function from the decoder configuration."""
