import sys

import numpy as np
import pytest

from bench.meters.memory import MemoryMeter, resident_peak

MIB = 2**20


def touch(mebibytes: int) -> int:
    return int(np.ones(mebibytes * MIB, dtype=np.uint8).sum())


def test_the_resident_peak_is_at_least_what_was_just_touched() -> None:
    assert touch(64) == 64 * MIB
    peak = resident_peak()
    assert peak is not None
    assert peak > 64 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset a process's resident peak")
def test_what_happens_between_repetitions_does_not_count() -> None:
    meter = MemoryMeter("cpu")
    touch(256)
    meter.begin()
    meter.end()
    touch(256)
    quiet = meter.peaks().resident_peak
    meter.begin()
    touch(256)
    meter.end()
    loud = meter.peaks().resident_peak
    assert quiet is not None
    assert loud is not None
    assert loud - quiet > 200 * MIB


def test_the_largest_of_several_peaks_remains() -> None:
    meter = MemoryMeter("cpu")
    for mebibytes in (128, 1):
        meter.begin()
        touch(mebibytes)
        meter.end()
    first = meter.peaks().resident_peak
    meter.begin()
    meter.end()
    assert meter.peaks().resident_peak == first
    assert meter.peaks().device_allocated_peak is None


class Peer:
    """A process that says what it was last asked."""

    pid = 1

    def __init__(self) -> None:
        self.peak = 0

    def forget_peaks(self) -> None:
        self.peak = 0

    def peaks(self) -> dict[str, int]:
        return {"resident_peak": self.peak, "device_allocated_peak": 2 * self.peak}


def test_where_a_peer_does_the_work_the_memory_is_its_own() -> None:
    peer = Peer()
    meter = MemoryMeter("cpu", peer)
    for peak in (5, 3):
        peer.peak = 99
        meter.begin()
        peer.peak = peak
        touch(1)
        meter.end()
    assert meter.peaks().resident_peak == 5
    assert meter.peaks().device_allocated_peak == 10
