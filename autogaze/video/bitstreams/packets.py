"""Packets of a video as bytes, in batches: cut out of a mapped file by its index, or from a demuxer."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Packets:
    """Consecutive packets that lie anywhere in a buffer."""

    buffer: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bool_]
    """Whether the container calls them key frames."""

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the bytes of each packet, and whether it is called a key frame."""
        for start, size, key in zip(
            self.starts.tolist(), self.sizes.tolist(), self.keys.tolist(), strict=True
        ):
            yield self.buffer[start : start + size].tobytes(), key


def joined(packets: list[bytes], keys: list[bool]) -> Packets:
    """Return packets as a demuxer gives them, laid end to end."""
    sizes = np.array([len(packet) for packet in packets], np.int64)
    buffer = np.frombuffer(b"".join(packets), np.uint8)
    return Packets(buffer, np.cumsum(sizes) - sizes, sizes, np.array(keys, bool))
