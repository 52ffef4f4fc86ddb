"""Bits of coded headers: :class:`Bits` of one, :class:`BitRows` of the same header of many packets."""

import numpy as np
import numpy.typing as npt

from autogaze.video.bitstreams.pictures import NotNumbered

_ESCAPE = b"\x00\x00\x03"

WINDOW = 32
"""Bytes of a header that :class:`BitRows` can read."""


def unescaped(payload: bytes) -> bytes:
    """Return a NAL unit's payload without the bytes that keep start codes out of it (H.264, 7.3.1)."""
    return payload.replace(_ESCAPE, _ESCAPE[:2])


class Bits:
    """Reads numbers from bytes, the most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def read(self, bits: int) -> int:
        """Return the next ``bits`` bits as a number; raise :class:`NotNumbered` past the end."""
        if bits > self._left:
            raise NotNumbered("a header in it ends too early")
        self._left -= bits
        return self._value >> self._left & (1 << bits) - 1

    def ue(self) -> int:
        """Return an unsigned Exp-Golomb number (H.264, 9.1)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def se(self) -> int:
        """Return a signed Exp-Golomb number (H.264, 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


class BitRows:
    """Reads the same fields of many headers at once, each row at its own place.

    Args:
        rows: (n, WINDOW) uint8: the first bytes of each header, zeros behind its end.
    """

    def __init__(self, rows: npt.NDArray[np.uint8]) -> None:
        rows = _unescaped_rows(rows)
        words = np.zeros((len(rows), WINDOW // 8 + 2), np.uint64)
        words[:, :-2] = np.ascontiguousarray(rows).view(">u8")
        self._words, self._first_word = words.reshape(-1), words.shape[1] * np.arange(len(rows))
        self._at = np.zeros(len(rows), np.int64)

    def read(self, bits: int, where: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
        """Return the next ``bits`` (at most 32) bits of each row; rows not in ``where`` stay and give 0."""
        if bits == 0:
            return np.zeros(len(self._at), np.int64)
        values = (self._peek() >> np.uint64(64 - bits)).astype(np.int64)
        return self._advance(values, bits, where)

    def ue(self, where: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
        """Return an unsigned Exp-Golomb number below 2**31 of each row, as :meth:`read` does."""
        ahead = self._peek()
        zeros = 32 - np.frexp((ahead >> np.uint64(32)).astype(np.float64))[1].astype(np.int64)
        if (zeros if where is None else zeros[where]).max(initial=0) == 32:
            raise NotNumbered("a picture header in it makes no sense")
        bits = np.minimum(2 * zeros + 1, 63)
        values = (ahead >> (64 - bits).astype(np.uint64)).astype(np.int64) - 1
        return self._advance(values, bits, where)

    def _peek(self) -> npt.NDArray[np.uint64]:
        """Return the 64 bits at each row's place."""
        word = self._first_word + (self._at >> 6)
        shift = (self._at & 63).astype(np.uint64)
        high, low = self._words[word] << shift, self._words[word + 1] >> np.uint64(1)
        ahead: npt.NDArray[np.uint64] = high | low >> np.uint64(63) - shift
        return ahead

    def _advance(
        self,
        values: npt.NDArray[np.int64],
        bits: npt.NDArray[np.int64] | int,
        where: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.int64]:
        if where is not None:
            values, bits = np.where(where, values, 0), np.where(where, bits, 0)
        self._at += bits
        if self._at.max(initial=0) > 8 * WINDOW:
            raise NotNumbered("a picture header in it does not end")
        return values


def _unescaped_rows(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    content = np.ascontiguousarray(rows).reshape(-1)
    threes = np.flatnonzero(content == 3)
    threes = threes[(content[threes - 1] == 0) & (content[threes - 2] == 0) & (threes % WINDOW >= 2)]
    if len(threes):
        rows = rows.copy()
        for row in {place // WINDOW for place in threes.tolist()}:
            plain = unescaped(rows[row].tobytes())
            rows[row] = np.frombuffer(plain.ljust(WINDOW, b"\0"), np.uint8)
    return rows
