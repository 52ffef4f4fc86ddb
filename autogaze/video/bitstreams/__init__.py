"""Bitstreams: what the packets of a video decode to, proved from their headers without decoding them."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from autogaze.video.bitstreams import h264, hevc
from autogaze.video.bitstreams.headers import HEADS
from autogaze.video.bitstreams.nal import NalUnits, concatenated, nal_units
from autogaze.video.bitstreams.packets import Packets, joined
from autogaze.video.bitstreams.pictures import Head, HeadOf, NotNumbered, Pictures, ordered

__all__ = ["NotNumbered", "Packets", "Pictures", "Scan", "joined", "scan_of"]

_NAL_CODECS: dict[str, ModuleType] = {"h264": h264, "hevc": hevc}

_ALIASES = {"libdav1d": "av1", "libaom-av1": "av1", "libvpx": "vp8", "libvpx-vp9": "vp9"}
"""Decoders that are not called by their codec's name."""


class Scan(Protocol):
    """Reads packets, batch by batch, and then says what they decode to."""

    def add(self, packets: Packets) -> None:
        """Read the next packets; raise :class:`NotNumbered` at the first that proves nothing."""

    def pictures(self) -> Pictures:
        """Return the pictures of all packets; raise :class:`NotNumbered` where they are not proved."""


def scan_of(codec: Any) -> Scan:
    """Return the scan for a PyAV codec context; raise :class:`NotNumbered` for a codec without one."""
    name = _ALIASES.get(codec.name, codec.name)
    extradata = bytes(codec.extradata or b"")
    if name in _NAL_CODECS:
        rules = _NAL_CODECS[name]
        return _NalScan(rules, extradata, rules.units_before(extradata), bool(codec.has_b_frames), [])
    if name in HEADS:
        return _HeadScan(HEADS[name](extradata), [])
    raise NotNumbered(f"packets of the codec {name} are not known to give one frame each")


@dataclass(frozen=True)
class _NalScan:
    rules: Any
    extradata: bytes
    length_size: int
    is_delayed: bool
    """Whether the decoder holds back a frame at least."""
    batches: list[NalUnits]

    def add(self, packets: Packets) -> None:
        self.batches.append(nal_units(packets, self.length_size, self.rules.KEPT))

    def pictures(self) -> Pictures:
        if not self.batches:
            raise NotNumbered("it has no packets")
        found: Pictures = self.rules.pictures(concatenated(self.batches), self.extradata, self.is_delayed)
        return found


@dataclass(frozen=True)
class _HeadScan:
    head: HeadOf
    heads: list[Head]

    def add(self, packets: Packets) -> None:
        self.heads.extend(self.head(packet, key) for packet, key in packets)

    def pictures(self) -> Pictures:
        return ordered(self.heads)
