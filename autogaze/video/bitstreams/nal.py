"""NAL units: what packets of H.264 and HEVC are made of.

They are cut apart for all packets of a batch at once. A packet that does not consist of whole units, one
behind the other, is damaged, and its video is not numbered.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from autogaze.video.bitstreams.bits import WINDOW
from autogaze.video.bitstreams.packets import Packets
from autogaze.video.bitstreams.pictures import DAMAGED, NotNumbered

_START_CODE = re.compile(rb"\x00\x00\x01")


@dataclass(frozen=True, eq=False)
class NalUnits:
    """The NAL units of a batch of packets, in the order of the file."""

    packet: npt.NDArray[np.int64]
    """Number of the packet that a unit lies in."""
    heads: npt.NDArray[np.uint8]
    """(n, 2 + WINDOW): the first bytes of each, zeros behind its end."""
    key: npt.NDArray[np.bool_]
    """Whether the container calls the unit's packet a key frame."""
    payloads: dict[int, bytes]
    """The whole of those units that :func:`nal_units` was told to keep, by their place in this table."""

    def __len__(self) -> int:
        return len(self.packet)


def concatenated(batches: list[NalUnits]) -> NalUnits:
    """Return the units of consecutive batches, packets numbered through."""
    if len(batches) == 1:
        return batches[0]
    packets: list[npt.NDArray[np.int64]] = []
    payloads: dict[int, bytes] = {}
    units = first = 0
    for batch in batches:
        packets.append(batch.packet + first)
        payloads |= {units + place: payload for place, payload in batch.payloads.items()}
        units, first = units + len(batch), first + int(batch.packet[-1]) + 1
    return NalUnits(
        np.concatenate(packets),
        np.concatenate([batch.heads for batch in batches]),
        np.concatenate([batch.key for batch in batches]),
        payloads,
    )


def nal_units(packets: Packets, length_size: int, kept: npt.NDArray[np.bool_]) -> NalUnits:
    """Cut packets into NAL units.

    Args:
        length_size: bytes of the length in front of each unit; 0 where start codes stand between them.
        kept: (256,): for each first byte of a unit, whether it is to be kept whole.

    Raises:
        NotNumbered: for a packet that is not made of whole units.
    """
    cut = _by_lengths(packets, length_size) if length_size else _by_start_codes(packets)
    packet, start, size = cut
    heads = _heads(packets.buffer, start, size)
    payloads = {
        place: packets.buffer[start[place] : start[place] + size[place]].tobytes()
        for place in np.flatnonzero(kept[heads[:, 0]]).tolist()
    }
    return NalUnits(packet, heads, packets.keys[packet], payloads)


def _heads(
    buffer: npt.NDArray[np.uint8], start: npt.NDArray[np.int64], size: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Return the first bytes of each unit, (n, 2 + WINDOW), zeros behind its end."""
    width = 2 + WINDOW
    if len(buffer) < width:
        buffer = np.pad(buffer, (0, width - len(buffer)))
    heads: npt.NDArray[np.uint8] = sliding_window_view(buffer, width)[np.minimum(start, len(buffer) - width)]
    for place in np.flatnonzero(start > len(buffer) - width).tolist():
        rest = buffer[start[place] :]
        heads[place] = np.pad(rest, (0, width - len(rest)))
    short = np.flatnonzero(size < width)
    heads[short] *= np.arange(width) < size[short, None]
    return heads


_Cut = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Packet, start in the buffer and size of each unit."""


def _by_lengths(packets: Packets, length_size: int) -> _Cut:
    at, ends = packets.starts.copy(), packets.starts + packets.sizes
    number = np.arange(len(packets))
    found: list[_Cut] = []
    while len(at):
        if (at + length_size >= ends).any():
            raise NotNumbered(DAMAGED)
        sizes = np.zeros(len(at), np.int64)
        for byte in range(length_size):
            sizes = sizes << 8 | packets.buffer[at + byte]
        at = at + length_size
        found.append((number, at, sizes))
        at = at + sizes
        if (sizes == 0).any() or (at > ends).any():
            raise NotNumbered(DAMAGED)
        left = at < ends
        number, at, ends = number[left], at[left], ends[left]
    if not found:
        raise NotNumbered("it has no packets")
    if len(found) == 1:
        return found[0]
    packet, start, size = (np.concatenate(columns) for columns in zip(*found, strict=True))
    in_order = np.argsort(packet, kind="stable")
    return packet[in_order], start[in_order], size[in_order]


def _by_start_codes(packets: Packets) -> _Cut:
    cuts: list[tuple[int, int, int]] = []
    for number, (content, _) in enumerate(packets):
        begins = [match.end() for match in _START_CODE.finditer(content)]
        if not begins or content[: begins[0] - 3].strip(b"\0"):
            raise NotNumbered(DAMAGED)
        first = int(packets.starts[number])
        for begin, end in zip(begins, [place - 3 for place in begins[1:]] + [len(content)], strict=True):
            size = len(content[begin:end].rstrip(b"\0"))
            if not size:
                raise NotNumbered(DAMAGED)
            cuts.append((number, first + begin, size))
    columns = np.array(cuts, np.int64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2]


def first_slices(
    units: NalUnits, coded: npt.NDArray[np.bool_], begins: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return the places of the first slices of all packets, each of which holds one whole picture.

    Args:
        coded: (n,): which units are slices.
        begins: (n,): which units would begin a picture if they were.

    Raises:
        NotNumbered: for a packet that holds none, several, or the end of another's.
    """
    slices = np.flatnonzero(coded)
    packets = units.packet[slices]
    is_first = np.diff(packets, prepend=-1) != 0
    if is_first.sum() != units.packet[-1] + 1 or (begins[slices] != is_first).any():
        raise NotNumbered("its packets do not hold one whole picture each")
    firsts: npt.NDArray[np.int64] = slices[is_first]
    return firsts


def split_units(content: bytes) -> list[bytes]:
    """Return the units that start codes stand before."""
    return [unit.rstrip(b"\0") for unit in _START_CODE.split(content)[1:]]


def length_size(extradata: bytes, place: int) -> int:
    """Return how many bytes of length stand before each unit, as the extradata says; 0 for start codes."""
    if not extradata or extradata[:3] == b"\0\0\1" or extradata[:4] == b"\0\0\0\1":
        return 0
    if len(extradata) <= place:
        raise NotNumbered("its decoder configuration is too short")
    return (extradata[place] & 3) + 1


def parameter_sets(extradata: bytes, counts: int, is_hevc: bool) -> list[bytes]:
    """Return the units of a decoder configuration record (ISO/IEC 14496-15), or of one with start codes.

    Args:
        counts: offset of the number of arrays (HEVC) or of the first array's number of units (H.264).
    """
    if not extradata or extradata[0] != 1:
        return split_units(extradata)
    units: list[bytes] = []
    at = counts
    try:
        arrays = extradata[at] if is_hevc else 2
        at += is_hevc
        for array in range(arrays):
            if is_hevc:
                number, at = int.from_bytes(extradata[at + 1 : at + 3]), at + 3
            else:
                number, at = extradata[at] & (31 if array == 0 else 255), at + 1
            for _ in range(number):
                size = int.from_bytes(extradata[at : at + 2])
                units.append(extradata[at + 2 : at + 2 + size])
                at += 2 + size
    except IndexError:
        raise NotNumbered("its decoder configuration is cut short") from None
    return units
