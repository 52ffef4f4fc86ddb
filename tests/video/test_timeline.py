import dataclasses

import numpy as np
import pytest

from autogaze.video.bitstreams import NotNumbered
from autogaze.video.container import Decoding, decode, reopen_file, video_stream
from autogaze.video.reading import read_frames
from autogaze.video.timeline import Timeline, find_timeline, read_index
from tests.video.videos import INPUTS, counted, decode_all, write_video

av = pytest.importorskip("av")


def timeline_of(path) -> Timeline:
    with reopen_file(path)(Decoding.DEFINED) as container:
        stream = video_stream(container)
        first = next(decode(container, stream))
        return find_timeline(container, read_index(stream), first.pts, reopen_file(path))


def test_a_timeline_finds_frames_by_their_timestamp():
    timeline = Timeline(np.array([0, 40, 90]), np.array([0, 2]), np.array([500, 400]), np.zeros(2, bool))
    assert [timeline.index(pts) for pts in (0, 40, 90)] == [0, 1, 2]
    assert [timeline.index(pts) for pts in (-1, 41, 91, None)] == [None] * 4


def test_a_timeline_knows_key_frames_by_time_and_size():
    timeline = Timeline(np.array([0, 40, 90]), np.array([0, 2]), np.array([500, 400]), np.zeros(2, bool))
    assert [timeline.key_before(number) for number in (0, 1, 2, 7)] == [0, 0, 2, 2]
    assert timeline.key_of(90, 400) == 2
    assert [timeline.key_of(*other) for other in ((40, 400), (90, 500), (91, 400), (None, 400))] == [None] * 4


def test_a_constant_rate_is_read_off_the_header_and_the_packets_heads(tmp_path, monkeypatch):
    path = write_video(tmp_path / "video.mp4", 60, b_frames=2, gop=20)

    def demuxed(*arguments):
        raise AssertionError("the header lists all packets")

    monkeypatch.setattr("autogaze.video.timeline.demuxed", demuxed)
    with counted() as work:
        timeline = timeline_of(path)
    assert len(timeline) == 60
    assert len(set(np.diff(timeline.pts))) == 1
    assert timeline.keys.tolist() == [0, 20, 40]
    assert work.decoded == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_rate_is_read_off_the_packets(tmp_path, suffix):
    shown = [0, 40, 60, 160, 200, 210, 300, 310, 330, 400]
    path = write_video(tmp_path / f"video.{suffix}", 10, timestamps=shown, b_frames=2)
    timeline = timeline_of(path)
    with av.open(str(path)) as container:
        seconds = (timeline.pts - timeline.pts[0]) * float(container.streams.video[0].time_base)
    np.testing.assert_allclose(seconds, np.array(shown) / 1000, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("paff_s.mp4", "field pictures, two packets a frame"),
        ("bla.mp4", "spliced"),
        ("neg.mkv", "no timestamps"),
    ],
)
def test_packets_that_do_not_number_the_frames_make_no_timeline(name, reason):
    with pytest.raises(NotNumbered, match=reason):
        timeline_of(INPUTS / name)


def test_a_timeline_that_does_not_fit_the_file_never_gives_a_wrong_frame(tmp_path):
    path = write_video(tmp_path / "video.mp4", 120, gop=20)
    truth, right = decode_all(path), timeline_of(path)
    shifted = dataclasses.replace(right, pts=right.pts + 1)
    gap = dataclasses.replace(right, pts=np.delete(right.pts, 85))
    other = dataclasses.replace(right, key_sizes=right.key_sizes + 1)
    for wrong in (shifted, gap, other):
        assert np.array_equal(read_frames(reopen_file(path), range(82, 90), wrong), truth[82:90])
