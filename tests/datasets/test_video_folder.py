import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autogaze.datasets import video_folder
from autogaze.datasets.labels import GazeLabels, write_labels
from autogaze.datasets.video_folder import ResizedCrop, VideoFolder
from autogaze.errors import InputError
from autogaze.train import CONFIGS, compose
from autogaze.training.builders import build_dataset
from autogaze.training.settings import read_settings
from autogaze.video import frame_source
from autogaze.video.preprocessing import fit_frames
from autogaze.video.video_file import open_source
from tests.video.videos import write_video

CROP = {"aug_type": "random_resized_crop", "random_resized_crop": {"scale_min": 0.3, "scale_max": 0.6}}


def ramp(frames=8, height=20, width=30, level=0):
    """Return a clip whose pixels tell their frame, row and column."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip[..., 0] = level + np.arange(frames)[:, None, None]
    clip[..., 1] = np.arange(height)[None, :, None] * 5
    clip[..., 2] = np.arange(width)[None, None, :] * 5
    return clip


@pytest.fixture
def root(tmp_path):
    """A set with a video, an array and a folder of pictures to train on, and an array to validate."""
    train, val = tmp_path / "set" / "train", tmp_path / "set" / "val"
    train.mkdir(parents=True)
    val.mkdir()
    write_video(train / "b.mp4", 12)
    np.save(train / "a.npy", ramp(level=50))
    (train / "c").mkdir()
    for number, picture in enumerate(ramp(level=90)):
        Image.fromarray(picture).save(train / "c" / f"{number}.png")
    (train / "notes.txt").write_text("no video")
    np.save(val / "v.npy", ramp(level=10))
    return tmp_path / "set"


def names(dataset):
    return [video.name for video in dataset.videos]


def test_files_arrays_and_folders_of_pictures_are_videos_in_the_order_of_their_names(root):
    dataset = VideoFolder(str(root), "train", clip_len=4, size=16)
    assert names(dataset) == ["a.npy", "b.mp4", "c"]
    assert len(dataset) == 3
    for index, video in enumerate(dataset.videos):
        item = dataset[index]
        assert item["video_path"] == str(video)
        assert np.array_equal(item["frames"], fit_frames(open_source(video).read(0, 4).frames, 16))


def test_roots_follow_one_another_and_folders_in_them_are_searched(root, tmp_path):
    (tmp_path / "more" / "train" / "kind").mkdir(parents=True)
    np.savez(tmp_path / "more" / "train" / "kind" / "a.npz", ramp())
    dataset = VideoFolder(f"{root}, {tmp_path / 'more'}", "train")
    assert names(dataset) == ["a.npy", "b.mp4", "c", "a.npz"]


def test_pictures_beside_videos_are_their_covers(root):
    (root / "train" / "d").mkdir()
    write_video(root / "train" / "d" / "e.mp4", 3)
    Image.new("RGB", (8, 8)).save(root / "train" / "d" / "cover.jpg")
    assert names(VideoFolder(str(root), "train")) == ["a.npy", "b.mp4", "c", "e.mp4"]


def test_another_ending_names_other_files(root):
    write_video(root / "train" / "d.MKV", 3)
    assert names(VideoFolder(str(root), "train", video_ext=".mkv")) == ["a.npy", "c", "d.MKV"]


def test_one_frame_in_so_many_is_taken(root):
    frames = VideoFolder(str(root), "val", clip_len=3, frame_sample_rate=2, size=30)[0]["frames"]
    assert frames[:, 0, 0, 0].tolist() == [10, 13, 15]


def test_frames_between_those_of_a_clip_are_not_read(root, monkeypatch):
    dataset = VideoFolder(str(root), "train", clip_len=2, frame_sample_rate=3, size=16)
    read, read_image = [], frame_source._read_image
    monkeypatch.setattr(frame_source, "_read_image", lambda file: read.append(file.name) or read_image(file))
    assert dataset[2]["frames"][:, 0, 0, 0].tolist() == [90, 95]
    assert read == ["0.png", "0.png", "5.png"]  # the first one for its size


@pytest.mark.parametrize(
    ("room", "opened"), [(1 << 23, ["b.mp4", "d.mp4"]), (12, ["b.mp4", "d.mp4", "d.mp4"])]
)
def test_a_video_file_is_indexed_once_while_there_is_room(root, monkeypatch, room, opened):
    write_video(root / "train" / "d.mp4", 12)
    found = []
    monkeypatch.setattr(video_folder, "_INDEXED_FRAMES", room)
    monkeypatch.setattr(
        video_folder, "open_source", lambda path: found.append(path.name) or open_source(path)
    )
    dataset = VideoFolder(str(root), "train", clip_len=2, size=16)
    first = [dataset[index]["frames"] for index in (1, 3)]
    again = [dataset[index]["frames"] for index in (1, 3)]
    assert found == opened
    assert all(map(np.array_equal, first, again))


def test_a_short_video_repeats_its_last_frame(root):
    frames = VideoFolder(str(root), "val", clip_len=10, size=30)[0]["frames"]
    assert frames[:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14, 15, 16, 17, 17, 17]


def test_random_clips_begin_anywhere_and_follow_seed_epoch_and_index(root):
    def begins(seed, epoch):
        dataset = VideoFolder(str(root), "train", random_sample_frame=True, clip_len=2, size=30, seed=seed)
        dataset.set_epoch(epoch)
        return int(dataset[0]["frames"][0, 0, 0, 0]) - 50

    found = [begins(seed, epoch) for seed in range(3) for epoch in range(20)]
    assert set(found) == {0, 1, 2, 3, 4, 5, 6}  # the last clip ends with the last of 8 frames
    assert found == [begins(seed, epoch) for seed in range(3) for epoch in range(20)]


def test_validation_is_the_same_in_every_epoch_and_never_cropped(root):
    dataset = VideoFolder(
        str(root), "val", random_sample_frame=True, train_data_aug=CROP, clip_len=2, size=20
    )
    first = dataset[0]["frames"]
    for epoch in range(1, 6):
        dataset.set_epoch(epoch)
        assert np.array_equal(dataset[0]["frames"], first)
    assert first[0, :, :, 1].max() == 95


def test_all_frames_of_a_clip_are_cropped_alike_and_every_epoch_anew(root):
    dataset = VideoFolder(str(root), "train", train_data_aug=CROP, clip_len=3, size=16)
    seen = set()
    for epoch in range(4):
        dataset.set_epoch(epoch)
        frames = dataset[0]["frames"].numpy()
        assert (frames[:, :, :, 1:] == frames[0, :, :, 1:]).all()
        seen.add(frames[0].tobytes())
        assert frames[0, :, :, 1].max() - frames[0, :, :, 1].min() < 95
    assert len(seen) == 4


def test_no_kind_of_augmentation_is_none(root):
    plain = VideoFolder(str(root), "train", clip_len=2, size=16)
    dataset = VideoFolder(str(root), "train", train_data_aug=CROP | {"aug_type": None}, clip_len=2, size=16)
    assert np.array_equal(dataset[0]["frames"], plain[0]["frames"])


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)).map(sorted),
)
def test_crops_lie_in_the_picture_whatever_its_shape(height, width, seed, scale, ratio):
    crop = ResizedCrop(*scale, *ratio)
    rows, columns = crop.draw(np.random.RandomState(seed), height, width)
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


def test_crops_keep_to_their_bounds():
    crop = ResizedCrop(0.25, 0.5, 0.5, 2)
    rng = np.random.RandomState(0)
    for _ in range(100):
        rows, columns = crop.draw(rng, 400, 400)
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        assert 0.24 < tall * wide / 400**2 < 0.51
        assert 0.49 < wide / tall < 2.05


def test_only_labelled_videos_are_kept_and_come_with_their_gazes(root, tmp_path):
    labels = GazeLabels(((1, 2), (3,)), ((0.5, 0.4), (0.3,)))
    write_labels(tmp_path / "labels.json", {"set/train/b.mp4": labels, "set/train/gone.mp4": labels})
    dataset = VideoFolder(str(root), "train", str(tmp_path / "labels.json"), clip_len=2, size=16)
    assert names(dataset) == ["b.mp4"]
    assert dataset[0]["gt_gazing_info"] == {
        "gazing_pos": [[1, 2], [3]],
        "task_losses": [[0.5, 0.4], [0.3]],
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("video_folder_*.yaml")))
def test_every_shipped_configuration_builds_its_data(root, tmp_path, name):
    sources, file = [f"dataset.root={root}"], tmp_path / "labels.json"
    if compose(name)["algorithm"]["name"] == "ntp":
        labels = GazeLabels(((1,),) * 16, ((0.5,),) * 16)
        write_labels(file, {"set/train/b.mp4": labels, "set/val/v.npy": labels})
        sources += [f"dataset.gt_gazing_pos_paths.{split}={file}" for split in ("train", "val")]
    settings = read_settings(compose(name, sources)).dataset
    for split in ("train", "val"):
        item = build_dataset(settings, split)[0]
        assert item["frames"].shape == (16, 224, 224, 3)
        assert ("gt_gazing_info" in item) == (len(sources) > 1)


def test_a_damaged_video_is_passed_over_with_a_warning_that_names_it(root):
    (root / "train" / "b.mp4").write_bytes(b"no video at all")
    dataset = VideoFolder(str(root), "train", clip_len=2, size=16)
    with pytest.warns(UserWarning, match=r"b\.mp4"):
        replacement = dataset[1]
    assert replacement["video_path"].endswith("/c")
    assert np.array_equal(replacement["frames"], dataset[2]["frames"])


def test_the_warning_quotes_no_line_of_code(root):
    (root / "val" / "v.npy").write_bytes(b"no array")
    np.save(root / "val" / "w.npy", ramp())
    with pytest.warns(UserWarning, match="skipped") as caught:
        VideoFolder(str(root), "val", clip_len=2, size=16)[0]
    (told,) = caught
    assert warnings.formatwarning(told.message, told.category, told.filename, told.lineno).count("\n") == 1


def test_after_the_last_video_comes_the_first(root):
    (root / "train" / "c" / "0.png").write_bytes(b"")
    dataset = VideoFolder(str(root), "train", clip_len=2, size=16)
    with pytest.warns(UserWarning, match="skipped"):
        assert dataset[2]["video_path"].endswith("a.npy")


@pytest.mark.filterwarnings("ignore:skipped")
def test_folders_in_which_nothing_can_be_read_are_refused(root):
    (root / "val" / "v.npy").write_bytes(b"no array")
    dataset = VideoFolder(str(root), "val")
    with pytest.raises(InputError, match="none of the 1 videos of the val split can be read"):
        dataset[0]


def test_an_index_past_the_end_ends_a_loop_over_the_videos(root):
    assert len([item["video_path"] for item in VideoFolder(str(root), "train", clip_len=1, size=8)]) == 3


def test_a_missing_root_or_split_is_refused_by_name(root, tmp_path):
    with pytest.raises(InputError, match="nowhere' does not exist"):
        VideoFolder(str(tmp_path / "nowhere"), "train")
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="bare/val' does not exist"):
        VideoFolder(f"{root},{tmp_path / 'bare'}", "val")


def test_links_are_followed_and_each_folder_is_visited_once_by_its_own_path(root, tmp_path):
    (root / "train" / "a_link").symlink_to(root / "train" / "c")
    (root / "train" / "c_loop").symlink_to(root / "train")
    (root / "train" / "nowhere").symlink_to("nowhere")
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "d.npy", ramp())
    (root / "train" / "link").symlink_to(tmp_path / "elsewhere")
    assert names(VideoFolder(str(root), "train")) == ["a.npy", "b.mp4", "c", "d.npy"]


@pytest.mark.parametrize("locked", ["set", "set/train", "set/train/c"])
def test_a_folder_that_may_not_be_read_is_refused_by_name(root, tmp_path, monkeypatch, locked):
    def refuse(method):
        def checked(path):
            # A folder that is locked neither lists its entries nor tells of what kind they are.
            if tmp_path / locked in ((path,) if method.__name__ == "iterdir" else path.parents):
                raise PermissionError(13, "Permission denied")
            return method(path)

        return checked

    for method in (Path.iterdir, Path.is_dir):
        monkeypatch.setattr(Path, method.__name__, refuse(method))
    with pytest.raises(InputError, match=rf"folder '{tmp_path / locked}' cannot be read \(Permission denied"):
        VideoFolder(str(root), "train")


def test_a_split_without_videos_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match=r"has no videos in train: put \.avi files"):
        VideoFolder(str(tmp_path), "train", video_ext=".avi")


def test_augmenting_labelled_clips_is_refused(root, tmp_path):
    write_labels(tmp_path / "labels.json", {"set/train/b.mp4": GazeLabels(((1,),), ((0.5,),))})
    for arguments in ({"random_sample_frame": True}, {"train_data_aug": CROP}):
        with pytest.raises(InputError, match="which has labels"):
            VideoFolder(str(root), "train", str(tmp_path / "labels.json"), clip_len=1, **arguments)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"split": "test"}, "unknown split 'test'"),
        ({"clip_len": 0}, "clip_len of a folder of videos is 0"),
        ({"frame_sample_rate": -1}, "frame_sample_rate of a folder of videos is -1"),
        ({"size": 0}, "size of a folder of videos is 0"),
        ({"seed": -1}, "seed of a folder of videos is -1"),
        ({"root": ""}, "a name in dataset.root '' is empty"),
        ({"root": "good,"}, "a name in dataset.root 'good,' is empty"),
        ({"video_ext": "*.mp4"}, r"dataset.video_ext '\*.mp4' is no ending of files"),
        ({"video_ext": "clips/.mp4"}, "dataset.video_ext 'clips/.mp4' is no ending"),
        ({"video_ext": ""}, "dataset.video_ext '' is no ending"),
        ({"train_data_aug": {"aug_type": "flip"}}, "unknown aug_type 'flip'"),
        ({"train_data_aug": CROP | {"random_resized_crop": {"scale": 1}}}, r"has the settings \['scale'\]"),
        ({"train_data_aug": CROP | {"random_resized_crop": {"scale_max": 2}}}, "to 2 of a picture"),
        ({"train_data_aug": CROP | {"random_resized_crop": {"ratio_min": 3}}}, "ratios from 3 to"),
    ],
)
def test_settings_out_of_range_are_refused(root, arguments, found):
    with pytest.raises(InputError, match=found):
        VideoFolder(**({"root": str(root), "split": "train"} | arguments))
