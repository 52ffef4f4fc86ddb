import numpy as np
import pytest

from autogaze.video.timeline import Timeline, find_timeline, read_frames
from tests.video.videos import CountingContainer, decode_all, write_video

av = pytest.importorskip("av")


def test_a_timeline_finds_frames_by_their_timestamp():
    timeline = Timeline(np.array([0, 40, 90]))
    assert [timeline.index(pts) for pts in (0, 40, 90)] == [0, 1, 2]
    assert [timeline.index(pts) for pts in (-1, 41, 91, None)] == [None] * 4


def test_a_constant_rate_is_read_off_the_header(tmp_path):
    path = write_video(tmp_path / "video.mp4", 60, b_frames=2)
    with av.open(str(path)) as container:

        def demux(*streams):
            raise AssertionError("the header says it all")

        counting = CountingContainer(container)
        counting.demux = demux
        timeline = find_timeline(counting)
    assert timeline is not None
    assert len(timeline) == 60
    assert len(set(np.diff(timeline.pts))) == 1
    assert counting.decoded == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_rate_is_read_off_the_packets(tmp_path, suffix):
    shown = [0, 40, 60, 160, 200, 210, 300, 310, 330, 400]
    path = write_video(tmp_path / f"video.{suffix}", 10, timestamps=shown, b_frames=2)
    with av.open(str(path)) as container:
        timeline = find_timeline(container)
        assert timeline is not None
        seconds = (timeline.pts - timeline.pts[0]) * float(container.streams.video[0].time_base)
    np.testing.assert_allclose(seconds, np.array(shown) / 1000, atol=1e-3)


def test_a_timeline_that_does_not_fit_the_file_never_gives_a_wrong_frame(tmp_path):
    path = write_video(tmp_path / "video.mp4", 120, gop=20)
    truth = decode_all(path)
    with av.open(str(path)) as container:
        right = find_timeline(container)
        assert right is not None
        shifted, gap = Timeline(right.pts + 1), Timeline(np.delete(right.pts, 85))
        for wrong in (shifted, gap):
            assert np.array_equal(read_frames(container, range(82, 90), wrong), truth[82:90])
