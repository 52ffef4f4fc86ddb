import numpy as np
import pytest

from autogaze.datasets.labels import GazeLabels, write_labels
from autogaze.datasets.synthetic import SyntheticVideos, paint_clip
from autogaze.datasets.synthetic.held_out import Balls, Drive, Machine, draw_held_out_scene
from autogaze.datasets.synthetic.motion import CANVAS, SIDE, Camera, Clock
from autogaze.datasets.synthetic.scenes import Cut, World, draw_scene
from autogaze.errors import InputError


def frames_of(dataset, index):
    return dataset[index]["frames"].numpy()


def test_a_clip_is_square_pixels_and_a_path_by_which_labels_know_it():
    item = SyntheticVideos("val", clip_len=3, size=48, length=5)[2]
    assert item["frames"].shape == (3, 48, 48, 3)
    assert str(item["frames"].dtype) == "torch.uint8"
    assert item["video_path"] == "synthetic_mixed_0/val/00000002.mp4"
    assert "gt_gazing_info" not in item


def test_a_clip_is_the_same_whenever_it_is_painted():
    first, second = SyntheticVideos(clip_len=3, length=9), SyntheticVideos(clip_len=3, length=4)
    expected = frames_of(first, 3)
    frames_of(second, 1)
    assert np.array_equal(frames_of(second, 3), expected)


@pytest.mark.parametrize(
    ("style", "levels"),
    [
        ("mixed", [144.09, 54.78, 123.44, 117.7, 119.16, 77.22, 47.42, 40.12]),
        ("held_out", [214.74, 128.32, 97.95, 35.34, 129.37, 83.42, 102.64, 85.59]),
    ],
)
def test_clips_stay_those_that_were_labelled(style, levels):
    """Labels belong to pictures, so the painter may not change; the rounding of another Pillow may."""
    found = [paint_clip("train", style, 0, number, 1).mean() for number in range(len(levels))]
    assert np.allclose(found, levels, rtol=0, atol=0.2)


@pytest.mark.parametrize("style", ["mixed", "held_out"])
def test_a_shorter_clip_is_the_beginning_of_a_longer_one(style):
    for number in range(3):
        long = paint_clip("train", style, 1, number, 4)
        assert np.array_equal(paint_clip("train", style, 1, number, 2), long[:2])


def test_numbers_seeds_splits_and_styles_all_give_other_clips():
    keys = [
        ("train", "mixed", 0, 0),
        ("train", "mixed", 0, 1),
        ("train", "mixed", 1, 0),
        ("val", "mixed", 0, 0),
        ("train", "held_out", 0, 0),
        ("val", "held_out", 0, 0),
    ]
    assert len({paint_clip(*key, 1).tobytes() for key in keys}) == len(keys)


def test_every_training_epoch_has_new_clips():
    dataset = SyntheticVideos("train", clip_len=1, length=2)
    paths = [dataset[index]["video_path"] for index in range(2)]
    dataset.set_epoch(3)
    later = dataset[1]
    assert later["video_path"] == "synthetic_mixed_0/train/00000007.mp4"
    assert later["video_path"] not in paths
    assert np.array_equal(later["frames"], frames_of(SyntheticVideos("train", clip_len=1, length=8), 7))


def test_validation_has_the_same_clips_in_every_epoch():
    dataset = SyntheticVideos("val", clip_len=1, length=2)
    before = frames_of(dataset, 1)
    dataset.set_epoch(5)
    assert np.array_equal(frames_of(dataset, 1), before)


def test_labelled_clips_come_with_their_gazes_and_others_not_at_all(tmp_path):
    plain = SyntheticVideos("train", clip_len=2, length=6)
    labels = {
        plain.path(number): GazeLabels(((number,), (8, 9)), ((0.5,), (0.4, 0.3))) for number in (1, 4, 99)
    }
    write_labels(tmp_path / "labels.json", labels)
    dataset = SyntheticVideos(
        "train", clip_len=2, length=6, gt_gazing_pos_paths=str(tmp_path / "labels.json")
    )
    dataset.set_epoch(2)
    assert len(dataset) == 2
    assert np.array_equal(frames_of(dataset, 1), frames_of(plain, 4))
    assert dataset[1]["gt_gazing_info"] == {"gazing_pos": [[4], [8, 9]], "task_losses": [[0.5], [0.4, 0.3]]}


def test_labels_of_another_seed_are_refused(tmp_path):
    other = SyntheticVideos("train", seed=5).path(0)
    write_labels(tmp_path / "labels.json", {other: GazeLabels(((1,),), ((0.5,),))})
    with pytest.raises(InputError, match="none of 10 videos"):
        SyntheticVideos("train", clip_len=1, length=10, gt_gazing_pos_paths=str(tmp_path / "labels.json"))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"split": "test"}, "unknown split 'test'"),
        ({"style": "heldout"}, "did you mean 'held_out'"),
        ({"seed": -1}, "seed of synthetic videos is -1"),
        ({"clip_len": 0}, "clip_len of synthetic videos is 0"),
        ({"size": 0}, "size of synthetic videos is 0"),
        ({"length": 0}, "length of synthetic videos is 0"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, found):
    with pytest.raises(InputError, match=found):
        SyntheticVideos(**arguments)


def test_an_index_past_the_end_ends_a_loop_over_the_clips():
    with pytest.raises(IndexError):
        SyntheticVideos(length=2)[2]


def test_training_never_sees_a_held_out_scene():
    training = {type(draw_scene(np.random.RandomState(seed))) for seed in range(25)}
    held_out = {type(draw_held_out_scene(np.random.RandomState(seed))) for seed in range(12)}
    assert training <= {World, Cut}
    assert held_out == {Drive, Machine, Balls}


def test_many_cameras_stand_still_and_many_do_not():
    cameras = [Camera.draw(np.random.RandomState(seed)) for seed in range(200)]
    still = sum(camera(0) == camera(15) for camera in cameras)
    assert 60 < still < 140


def test_cameras_never_see_past_the_canvas():
    for seed in range(100):
        camera = Camera.draw(np.random.RandomState(seed))
        for t in range(0, 300, 7):
            view = camera(t)
            half = SIDE / 2 / view.zoom * (abs(np.cos(view.roll)) + abs(np.sin(view.roll)))
            assert half <= min(view.x, view.y)
            assert max(view.x, view.y) <= CANVAS - half


def test_a_clock_stops_for_its_pause_and_goes_on_where_it_stopped():
    assert [Clock(pause=2, length=3)(frame) for frame in range(8)] == [0, 1, 2, 2, 2, 2, 3, 4]


def test_detail_is_as_sparse_and_motion_as_slow_as_in_real_video():
    """Half the clips keep most of their detail in few patches, and change little from frame to frame."""
    shares, changes = [], []
    for number in range(16):
        clip = paint_clip("val", "mixed", 0, number, 3).astype(np.float32) / 255
        edges = np.abs(np.diff(clip[1], axis=0))[:-1].mean(-1)[:208, :208]
        patches = np.sort(edges.reshape(13, 16, 13, 16).mean((1, 3)).ravel())
        shares.append(patches[-42:].sum() / patches.sum())
        changes.append(np.abs(np.diff(clip, axis=0)).mean())
    assert np.median(shares) > 0.4
    assert 0.002 < np.median(changes) < 0.04
