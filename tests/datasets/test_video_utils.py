import io

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autogaze.datasets.video_utils import (
    get_relative_video_path,
    process_video_frames,
    read_video_pyav,
    sample_frame_indices,
    transform_video_for_pytorch,
)
from autogaze.errors import InputError
from tests.video.videos import INPUTS, counted, decode_all, write_video, written_number

LONG, GOP = 1100, 50
IRREGULAR = np.cumsum(np.random.RandomState(1).randint(20, 60, LONG)).tolist()
OPEN_GOP = {"x264-params": f"open-gop=1:bframes=3:keyint={GOP}:min-keyint={GOP}"}

FILES = {
    "h264": ("mp4", {}),
    "h264 with B-frames": ("mp4", {"b_frames": 3}),
    "h264 with open groups": ("mp4", {"options": OPEN_GOP}),
    "h264 of variable rate": ("mp4", {"timestamps": IRREGULAR, "b_frames": 2}),
    "h264 in fragments": ("mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "h264 in a transport stream": ("ts", {"b_frames": 2}),
    "h264 in Matroska": ("mkv", {"timestamps": IRREGULAR}),
    "mpeg4": ("mp4", {"codec": "mpeg4"}),
    "mpeg4 with B-frames": ("avi", {"codec": "mpeg4", "b_frames": 2}),
}
"""Name: suffix and how to write it. Every file has a key frame each ``GOP`` frames."""


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            suffix, options = FILES[name]
            path = tmp_path_factory.mktemp("long") / f"video.{suffix}"
            made[name] = write_video(path, LONG, gop=GOP, **options), decode_all(path)
        return made[name]

    return make


@pytest.mark.parametrize("name", FILES)
def test_late_frames_cost_a_seek_and_are_those_of_a_full_decode(long_video, name):
    path, all_frames = long_video(name)
    with av.open(str(path)) as container, counted() as work:
        frames = read_video_pyav(container, range(1000, 1016))
    assert np.array_equal(frames, all_frames[1000:1016])
    assert [written_number(frame) for frame in frames] == list(range(1000, 1016))
    assert work.decoded <= 2 * GOP + 16


@pytest.mark.parametrize("name", ["h264 with open groups", "h264 of variable rate", "mpeg4 with B-frames"])
def test_frames_around_key_frames_are_right_too(long_video, name):
    path, all_frames = long_video(name)
    with av.open(str(path)) as container:
        for start in (1, GOP - 2, GOP - 1, GOP, GOP + 1, 2 * GOP - 1, LONG - 3):
            indices = [index for index in range(start, start + 4) if index < LONG]
            assert np.array_equal(read_video_pyav(container, indices), all_frames[indices]), start


def test_the_start_is_decoded_without_looking_for_anything_else(long_video):
    path, all_frames = long_video("h264")
    with av.open(str(path)) as container, counted() as work:
        assert np.array_equal(read_video_pyav(container, range(16)), all_frames[:16])
    assert work.decoded == 16


def test_indices_may_leave_gaps_repeat_and_run_past_the_end(long_video):
    path, all_frames = long_video("h264 with B-frames")
    with av.open(str(path)) as container:
        frames = read_video_pyav(container, np.array([900, 910, 910, 1099, 1100, 1200]))
        assert np.array_equal(frames, all_frames[[900, 910, 1099]])
        assert read_video_pyav(container, [LONG, LONG + 1]).shape == (0, 64, 64, 3)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("flv", "flv"), ("mpg", "mpeg2video")], ids=["no rules", "no timestamps"]
)
def test_a_file_whose_frames_cannot_be_numbered_is_decoded_from_the_start(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"video.{suffix}", 120, codec=codec, gop=20)
    with av.open(str(path)) as container, counted() as work:
        frames = read_video_pyav(container, [100, 101])
    assert np.array_equal(frames, decode_all(path)[[100, 101]])
    assert work.decoded >= 102


def test_a_cut_stream_begins_where_decoding_does(tmp_path):
    whole = write_video(tmp_path / "whole.ts", 200, gop=GOP, options=OPEN_GOP)
    cut = tmp_path / "cut.ts"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and number >= GOP:
                packet.stream = stream
                target.mux(packet)
    all_frames = decode_all(cut)
    # Frames before the first whole group refer to what was cut off, and are not shown.
    assert len(all_frames) < 200 - GOP
    with av.open(str(cut)) as container, counted() as work:
        assert np.array_equal(read_video_pyav(container, [70, 71]), all_frames[[70, 71]])
    assert work.decoded < 70


@pytest.mark.parametrize(
    ("indices", "found"),
    [
        ([], "not frame numbers"),
        ([0.5], "not frame numbers"),
        ([[0], [1]], "not frame numbers"),
        ([-1, 0], "ascending"),
        ([3, 1], "ascending"),
    ],
)
def test_what_are_no_frame_numbers_is_refused(long_video, indices, found):
    with av.open(str(long_video("h264")[0])) as container, pytest.raises(InputError, match=found):
        read_video_pyav(container, indices)


def test_a_bare_stream_without_a_container_is_decoded_from_its_start(tmp_path):
    path = write_video(tmp_path / "video.h264", 30)
    with av.open(str(path)) as container:
        assert np.array_equal(read_video_pyav(container, [20, 29]), decode_all(path)[[20, 29]])


def test_the_container_is_left_where_it_is(tmp_path):
    path = write_video(tmp_path / "video.mkv", 30, gop=10)
    expected = decode_all(path)
    for file in (str(path), io.BytesIO(path.read_bytes())):
        with av.open(file) as container:
            frames = container.decode(video=0)
            assert np.array_equal(next(frames).to_ndarray(format="rgb24"), expected[0])
            assert np.array_equal(read_video_pyav(container, [25, 26]), expected[[25, 26]])
            rest = [frame.to_ndarray(format="rgb24") for frame in frames]
        assert np.array_equal(rest, expected[1:])


def test_a_file_object_that_cannot_seek_is_refused(tmp_path):
    class Pipe:
        def __init__(self, content):
            self.read = io.BytesIO(content).read

    path = write_video(tmp_path / "video.ts", 30)
    refused = pytest.raises(InputError, match="object that cannot seek: open a file by its name")
    with av.open(Pipe(path.read_bytes())) as container, refused:
        read_video_pyav(container, [20])


def test_frames_come_as_they_are_to_be_shown_or_as_they_are_stored():
    with av.open(str(INPUTS / "rot90.mp4")) as container:
        shown = read_video_pyav(container, [3, 40])
        stored = read_video_pyav(container, [3, 40], turned=False)
    assert np.array_equal(stored, decode_all(INPUTS / "rot90.mp4")[[3, 40]])
    assert np.array_equal(shown, np.rot90(stored, axes=(1, 2)))


def test_videos_are_named_by_the_last_three_parts_of_their_path():
    assert get_relative_video_path("/data/set/train/clip.mp4") == "set/train/clip.mp4"
    assert get_relative_video_path("train/clip.mp4") == "train/clip.mp4"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((4, 1, 10), [0, 1, 2, 3]),
        ((4, 2, 100), [0, 2, 5, 7]),
        ((4, 8, 20), [0, 1, 2, 3]),
        ((6, 1, 3), [0, 1, 2, 2, 2, 2]),
        ((4, 1, 4), [0, 1, 2, 3]),
    ],
)
def test_clips_are_sampled_as_the_released_function_does(arguments, expected):
    indices = sample_frame_indices(*arguments)
    assert indices.dtype == np.int64
    assert indices.tolist() == expected


def test_a_random_clip_follows_numpys_seed():
    np.random.seed(3)
    end = np.random.randint(16, 100)
    np.random.seed(3)
    indices = sample_frame_indices(8, 2, 100, random_sample_frame=True)
    assert indices[0] == end - 16
    assert indices[-1] == end - 1


@given(clip_len=st.integers(1, 20), rate=st.floats(0.5, 5), seg_len=st.integers(1, 120), random=st.booleans())
def test_sampled_frames_exist_and_ascend(clip_len, rate, seg_len, random):
    if int(clip_len * rate) == 0:
        return
    indices = sample_frame_indices(clip_len, rate, seg_len, random)
    assert len(indices) == clip_len
    assert indices.min() >= 0
    assert indices.max() < seg_len
    assert (np.diff(indices) >= 0).all()


@pytest.mark.parametrize("arguments", [(0, 1, 10), (4, 0, 10), (4, 1, 0)])
def test_a_clip_of_nothing_is_refused(arguments):
    with pytest.raises(InputError, match="must be positive"):
        sample_frame_indices(*arguments)


def test_clips_are_cut_or_their_last_frame_repeated():
    video = np.arange(3)[:, None]
    assert process_video_frames(video, 2).ravel().tolist() == [0, 1]
    assert process_video_frames(video, 3).ravel().tolist() == [0, 1, 2]
    assert process_video_frames(video, 5).ravel().tolist() == [0, 1, 2, 2, 2]


def test_a_clip_needs_frames():
    with pytest.raises(InputError, match="video has no frames"):
        process_video_frames(np.empty((0, 4)), 2)
    with pytest.raises(InputError, match="clip length 0"):
        process_video_frames(np.empty((1, 4)), 0)


def test_without_a_transform_only_the_channels_move():
    frames = np.random.RandomState(0).randint(0, 256, (2, 4, 5, 3), np.uint8)
    assert torch.equal(transform_video_for_pytorch(frames), torch.from_numpy(frames).permute(0, 3, 1, 2))


def test_processors_that_know_pictures_only_will_do():
    def pictures_only(images, return_tensors):
        assert return_tensors == "pt"
        return {
            "pixel_values": torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])
        }

    frames = np.full((5, 4, 6, 3), 255, np.uint8)
    assert torch.equal(transform_video_for_pytorch(frames, pictures_only), torch.ones(5, 3, 4, 6))


class Frames:
    """What a processor of one's own may return."""

    def __init__(self, pixel_values):
        self.pixel_values = pixel_values


@pytest.mark.parametrize(
    "transform",
    [
        lambda frames: Frames([frame.transpose(2, 0, 1) / np.float32(255) for frame in frames]),
        lambda frames: Frames([[frame.transpose(2, 0, 1) / np.float32(255) for frame in frames]]),
        lambda frames: Frames(np.stack(frames) / np.float32(255)),
        lambda frames: Frames([torch.from_numpy(frame).permute(2, 0, 1) / 255 for frame in frames]),
        lambda frames, **kwargs: {"pixel_values": torch.from_numpy(np.stack(frames))[None] / 255},
    ],
    ids=["frames", "frames in a list", "an array, channels last", "tensors", "a batch of one"],
)
def test_any_callable_that_gives_pixel_values_will_do(transform):
    frames = np.random.RandomState(0).randint(0, 256, (4, 5, 6, 3), np.uint8)
    expected = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    for video in (frames, list(frames)):
        torch.testing.assert_close(transform_video_for_pytorch(video, transform), expected)


def test_without_a_transform_frames_of_either_layout_only_have_their_channels_moved():
    frames = np.random.RandomState(0).randint(0, 256, (4, 5, 6, 3), np.uint8)
    expected = torch.from_numpy(frames).permute(0, 3, 1, 2)
    for video in (frames, list(frames), frames.transpose(0, 3, 1, 2)):
        assert torch.equal(transform_video_for_pytorch(video), expected)


def test_a_transform_that_makes_no_video_is_refused():
    with pytest.raises(InputError, match=r"shape \[2, 5, 6\]"):
        transform_video_for_pytorch(
            np.zeros((2, 5, 6, 3), np.uint8), lambda f: Frames([x[..., 0] for x in f])
        )
