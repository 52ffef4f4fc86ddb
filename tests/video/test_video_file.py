import builtins

import av
import numpy as np
import pytest

from autogaze.errors import InputError
from autogaze.video import reading
from autogaze.video.container import video_stream
from autogaze.video.video_file import VideoFile, open_source
from tests.video.videos import decode_all, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "video.mp4", 40, gop=10, b_frames=2)


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_file_knows_its_frames_size_and_rate(video):
    source = open_source(video)
    assert (source.frames, source.height, source.width, source.fps) == (40, 64, 64, 25)


def test_clips_are_read_by_number(video):
    source, frames = VideoFile.open(video), decode_all(video)
    for start in (0, 7, 25, 30):
        clip = source.read(start, 8)
        assert np.array_equal(clip.frames, frames[start : start + 8])
        assert clip.repeated == 0


def test_frames_between_those_asked_for_are_not_converted(video, monkeypatch):
    converted = []
    convert = reading.picture_of
    monkeypatch.setattr(
        reading, "picture_of", lambda frame, turned: converted.append(frame) or convert(frame, turned)
    )
    for numbers in ([0, 3, 9], [11, 27, 39]):
        assert np.array_equal(VideoFile.open(video).frames_at(numbers), decode_all(video)[numbers])
    assert len(converted) == 6


def test_a_clip_past_the_end_repeats_the_last_frame_and_says_so(video):
    frames, repeated = VideoFile.open(video).read(36, 16)
    assert repeated == 12
    assert np.array_equal(frames[:4], decode_all(video)[36:])
    assert (frames[4:] == frames[3]).all()


def test_frames_are_counted_by_decoding_where_packets_do_not_tell(tmp_path):
    path = write_video(tmp_path / "video.flv", 30, codec="flv", gop=10)
    source = VideoFile.open(path)
    assert source.frames == 30
    assert np.array_equal(source.read(20, 4).frames, decode_all(path)[20:24])
    assert source.remarks == (
        "every read of the video decodes it from its start, as packets of the codec flv are not known to "
        "give one frame each",
    )


def test_a_clip_that_begins_nowhere_is_refused(video):
    with pytest.raises(InputError, match=r"clip start 40 lies outside .* 40 frames: starts from 0 to 39"):
        VideoFile.open(video).read(40, 16)


def test_a_missing_file_is_refused(tmp_path):
    for name in ("none.mp4", "none.npz"):
        with pytest.raises(InputError, match=f"'{tmp_path / name}' does not exist"):
            open_source(tmp_path / name)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"is empty \(0 bytes\)"):
        open_source(tmp_path / "empty.mp4")


def test_a_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("no video at all " * 50)
    with pytest.raises(InputError, match=r"cannot be read \(Invalid data"):
        open_source(tmp_path / "text.mp4")


def test_a_file_cut_short_is_refused_when_its_header_is_behind(video, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:-1500])
    with pytest.raises(InputError, match="was cut short or damaged"):
        open_source(tmp_path / "cut.mp4")


def test_a_file_cut_short_is_refused_when_its_header_is_in_front(tmp_path):
    whole = write_video(tmp_path / "v.mp4", 40, container_options={"movflags": "+faststart"})
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-1500])
    with pytest.raises(InputError, match=r"is truncated: its header promises \d+ bytes"):
        open_source(tmp_path / "cut.mp4")


def test_a_file_that_loses_frames_after_it_was_opened_is_refused(video, tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(video.read_bytes())
    source = VideoFile.open(path)
    write_video(path, 10, gop=10)
    with pytest.raises(InputError, match="should have 40 frames, and decoding ends before frame 10"):
        source.read(8, 8)


def test_an_audio_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no video stream"):
        open_source(audio_only(tmp_path / "sound.m4a"))


def test_a_cover_picture_is_no_video(tmp_path):
    path = write_video(tmp_path / "video.mp4", 2)
    with av.open(str(path)) as container:

        class Cover:
            disposition = av.stream.Disposition.attached_pic

        class Music:
            name = "song.mp3"
            streams = type("Streams", (list,), {"video": [Cover()]})()

        assert video_stream(container) is container.streams.video[0]
        with pytest.raises(InputError, match=r"'song\.mp3' has no video stream"):
            video_stream(Music())


def test_a_video_without_frames_is_refused(tmp_path):
    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.start_encoding()
    with pytest.raises(InputError, match=r"has no frames|cannot be read"):
        open_source(path)


def test_without_pyav_the_cure_is_named_and_arrays_still_work(video, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_av(name, *rest):
        if name == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(InputError, match="pip install av"):
        open_source(video)
    np.save(tmp_path / "frames.npy", np.zeros((2, 4, 4, 3), np.uint8))
    assert open_source(tmp_path / "frames.npy").frames == 2
