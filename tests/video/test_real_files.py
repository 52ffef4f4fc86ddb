"""Files as cameras, phones and broadcasters make them: each was read wrongly once, and said nothing."""

import random
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from autogaze.datasets.video_utils import read_video_pyav
from autogaze.errors import InputError
from autogaze.video.frame_source import ImageFolder
from autogaze.video.video_file import VideoFile, open_source
from tests.video.odd_videos import MATRICES, paletted, set_display_matrix
from tests.video.videos import INPUTS, counted, decode_all, picture, write_video


def assert_any_read_is_right(path: Path, expected: np.ndarray) -> None:
    """Read every frame by itself in no order, and clips around."""
    source = open_source(path)
    assert (source.frames, source.height, source.width) == expected.shape[:3]
    numbers = list(range(source.frames))
    random.Random(0).shuffle(numbers)
    for number in numbers:
        assert np.array_equal(source.read(number, 1).frames[0], expected[number]), number
    for start in range(0, source.frames, 7):
        clip = source.read(start, 16)
        assert np.array_equal(clip.frames[: 16 - clip.repeated], expected[start : start + 16])


def write_paletted(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "pal8"
        for number in range(12):
            container.mux(stream.encode(paletted(picture(number))))
        container.mux(stream.encode(None))
    return path


def test_a_palette_that_comes_with_the_first_frame_is_there_for_all(tmp_path):
    path = write_paletted(tmp_path / "palette.avi")
    expected = decode_all(path)
    assert expected.std() > 30
    assert_any_read_is_right(path, expected)


def test_time_0_need_not_be_the_start():
    expected = decode_all(INPUTS / "neg.mkv")
    assert len(expected) == 60
    assert_any_read_is_right(INPUTS / "neg.mkv", expected)
    with av.open(str(INPUTS / "neg.mkv")) as container:
        assert np.array_equal(read_video_pyav(container, [0, 30]), expected[[0, 30]])


def test_a_transport_stream_may_begin_anywhere_and_its_clock_may_start_over(tmp_path):
    whole = write_video(tmp_path / "whole.ts", 60, gop=12, b_frames=2)
    # 33 bits of a clock of 90 kHz: the first two seconds are the last before it starts over.
    for start in (-2, 1000, (1 << 33) / 90000 - 1.2):
        path = tmp_path / "clock.ts"
        with av.open(str(whole)) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    shift = round(start / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    target.mux(packet)
        assert_any_read_is_right(path, decode_all(path))


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_two_field_pictures_are_one_frame(tmp_path, suffix):
    path = tmp_path / f"fields.{suffix}"
    with av.open(str(INPUTS / "paff_s.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    expected = decode_all(path)
    assert len(expected) == 24
    assert_any_read_is_right(path, expected)


def test_a_spliced_video_has_one_numbering():
    expected = decode_all(INPUTS / "bla.mp4")
    assert len(expected) == 59
    assert_any_read_is_right(INPUTS / "bla.mp4", expected)
    assert any("spliced" in remark for remark in VideoFile.open(INPUTS / "bla.mp4").remarks)


@pytest.mark.parametrize(
    ("codec", "b_frames"), [("libx264", 2), ("libx265", 0), ("mpeg4", 0), ("mpeg2video", 2)]
)
def test_packets_that_are_gone_are_not_counted(tmp_path, codec, b_frames):
    path = write_video(tmp_path / "hole.mp4", 60, codec, gop=10, b_frames=b_frames)
    with av.open(str(path)) as container:
        place, size = [(packet.pos, packet.size) for packet in container.demux(video=0)][25]
    content = path.read_bytes()
    path.write_bytes(content[:place] + bytes(size) + content[place + size :])
    try:
        expected = decode_all(path)
    except av.FFmpegError:
        with pytest.raises(InputError, match="damaged"):
            VideoFile.open(path).read(0, 60)
        return
    assert len(expected) < 60
    assert_any_read_is_right(path, expected)


@pytest.mark.parametrize("matrix", MATRICES)
def test_pictures_are_turned_and_mirrored_as_the_file_says(tmp_path, matrix):
    path = write_video(tmp_path / "turned.mp4", 3)
    stored = decode_all(path)
    set_display_matrix(path, matrix)
    a, b, c, d = matrix
    # A stored place (column, row), counted from the middle, is shown at (a column + c row, b column + d row).
    columns, rows = np.meshgrid(2 * np.arange(64) - 63, 2 * np.arange(64) - 63)
    expected = np.empty_like(stored)
    expected[:, (b * columns + d * rows + 63) // 2, (a * columns + c * rows + 63) // 2] = stored
    assert_any_read_is_right(path, expected)


def test_a_video_on_its_side_is_turned_and_has_the_turned_size():
    stored = decode_all(INPUTS / "rot90.mp4")
    source = open_source(INPUTS / "rot90.mp4")
    assert (source.height, source.width) == (stored.shape[2], stored.shape[1])
    assert_any_read_is_right(INPUTS / "rot90.mp4", np.rot90(stored, axes=(1, 2)))


def test_turns_that_are_no_quarter_are_refused(tmp_path):
    path = write_video(tmp_path / "slanted.mp4", 3)
    set_display_matrix(path, (1, 1, -1, 1))
    with pytest.raises(InputError, match="turned by 45 degrees: quarter turns"):
        open_source(path)


def test_pictures_are_turned_by_their_exif_orientation(tmp_path):
    source = open_source(INPUTS / "exif_folder")
    first = Image.open(INPUTS / "exif_folder" / "0.jpg")
    assert first.getexif()[0x0112] == 6  # a quarter to the right
    assert (source.height, source.width) == (first.width, first.height)
    assert np.array_equal(source.read(0, 1).frames[0], np.rot90(np.asarray(first), -1))


def test_pictures_of_16_bits_are_turned_too(tmp_path):
    grey = np.arange(12, dtype=np.uint16).reshape(3, 4) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey).save(tmp_path / "grey.png", exif=exif)
    expected = np.rot90(grey // 257, -1)
    assert np.array_equal(ImageFolder.open(tmp_path).read(0, 1).frames[0, ..., 0], expected)


def test_a_picture_size_that_changes_is_read_as_it_is_but_never_mixed():
    path = INPUTS / "rampup.webm"
    source = open_source(path)
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    change = next(number for number, frame in enumerate(expected) if frame.shape != expected[0].shape)
    for number, frame in enumerate(expected):
        assert np.array_equal(source.read(number, 1).frames[0], frame)
    with pytest.raises(InputError, match=r"changes its picture size from \(240, 320\) to \(480, 640\)"):
        source.read(change - 2, 4)


@pytest.mark.parametrize("codec", ["libsvtav1", "libvpx-vp9", "libvpx"])
def test_the_end_costs_a_group_of_pictures_not_the_whole_video(tmp_path, codec):
    options = {"preset": "12"} if codec == "libsvtav1" else {"lag-in-frames": "16", "auto-alt-ref": "1"}
    path = write_video(tmp_path / "video.webm", 120, codec, gop=30, options=options)
    expected, source = decode_all(path), VideoFile.open(path)
    with counted() as work:
        assert np.array_equal(source.read(104, 16).frames, expected[104:])
    assert work.decoded <= 16 + 30


def test_colours_are_those_of_the_standard_that_the_file_names(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32], pixels[32:, :32], pixels[:32, 32:] = (200, 30, 40), (30, 180, 60), (40, 50, 210)
    with av.open(str(tmp_path / "hd.mp4"), "w") as container:
        tags = "colorprim=bt709:transfer=bt709:colormatrix=bt709"
        stream = container.add_stream("libx264", rate=25, options={"x264-params": tags, "crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode(None))
    found = open_source(tmp_path / "hd.mp4").read(0, 1).frames[0].astype(int)
    assert np.abs(found - pixels)[8:24, 8:24].max() <= 4
    assert np.abs(found - pixels).mean() < 2


def test_a_name_like_a_protocol_is_a_file_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "video.mp4", 5).rename("12:30:00.mp4")
    assert open_source("12:30:00.mp4").read(0, 5).repeated == 0
    with av.open(str(tmp_path / "12:30:00.mp4")) as container:
        assert len(read_video_pyav(container, range(5))) == 5


@pytest.mark.parametrize(
    "names",
    [
        ("1.25.png", "1.5.png", "2.png", "10.125.png"),
        ("1.8.png", "1.9.png", "1.10.png", "1.11.png"),
        ("v1.2.9.png", "v1.2.10.png", "v1.10.1.png"),
        ("1305031102.175304.png", "1305031102.211214.png", "1305031103.000001.png"),
        ("a1.png", "a02.png", "a2.png", "a10.png"),
        ("1.png", "²1.png"),
    ],
)
def test_pictures_come_in_the_order_of_the_numbers_in_their_names(tmp_path, names):
    for name in sorted(names):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    assert [file.name for file in ImageFolder.open(tmp_path).files] == list(names)


@pytest.mark.parametrize(
    ("suffix", "remark"),
    [("mkv", "header promises about 60: it may have been cut short"), ("ts", "were it cut short, nothing")],
)
def test_what_may_have_been_cut_short_is_said(tmp_path, suffix, remark):
    path = write_video(tmp_path / f"video.{suffix}", 60, gop=10)
    whole = VideoFile.open(path)
    assert whole.frames == 60
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    cut = VideoFile.open(path)
    assert 30 < cut.frames < 60
    assert remark in cut.remarks[-1]
    assert (whole.remarks == ()) == (suffix == "mkv")
