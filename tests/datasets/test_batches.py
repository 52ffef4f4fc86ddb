import numpy as np
import pytest
import torch

from autogaze.datasets.batches import collate, to_inputs
from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.video.preprocessing import normalize

GRID = PatchGrid((32,), 16)


def item(name, positions=None, frames=2, size=8):
    pixels = np.random.RandomState(len(name)).randint(0, 256, (frames, size, size, 3), np.uint8)
    made = {"frames": torch.from_numpy(pixels), "video_path": name}
    if positions is not None:
        losses = [[0.5 + position for position in frame] for frame in positions]
        made["gt_gazing_info"] = {"gazing_pos": positions, "task_losses": losses}
    return made


def test_frames_and_paths_are_laid_side_by_side():
    items = [item("a"), item("bb"), item("ccc")]
    batch = collate(items)
    assert batch["frames"].shape == (3, 2, 8, 8, 3)
    assert batch["frames"].dtype == torch.uint8
    assert torch.equal(batch["frames"][2], items[2]["frames"])
    assert batch["video_path"] == ["a", "bb", "ccc"]
    assert "gt_gazing_info" not in batch


def test_labels_become_positions_in_the_clip_padded_frame_by_frame():
    batch = collate([item("a", [[3], [0, 2]]), item("bb", [[1, 0, 2], [3]])], GRID)
    info = batch["gt_gazing_info"]
    assert info["num_gazing_each_frame"].tolist() == [3, 2]
    assert info["gazing_pos"].tolist() == [[3, 4, 4, 4, 6], [1, 0, 2, 7, 8]]
    assert info["if_padded_gazing"].tolist() == [[False, True, True, False, False], [False] * 4 + [True]]
    assert info["task_losses"].tolist() == [[3.5, 0, 0, 0.5, 2.5], [1.5, 0.5, 2.5, 3.5, 0]]
    assert info["gazing_pos"].dtype == info["num_gazing_each_frame"].dtype == torch.int64


def test_labels_are_of_the_released_grid_unless_said_otherwise():
    info = collate([item("a", [[264], [264]])])["gt_gazing_info"]
    assert info["gazing_pos"].tolist() == [[264, 529]]


def test_both_models_get_the_picture_that_normalising_on_the_host_gives():
    batch = collate([item("a"), item("bb")])
    inputs = to_inputs(batch, "cpu")
    expected = np.stack([normalize(frames.numpy()) for frames in batch["frames"]])
    assert inputs["video"].is_contiguous()
    assert np.allclose(inputs["video"], expected, rtol=0, atol=2e-6)
    assert inputs["video_for_task"] is inputs["video"]


def test_clips_of_several_shapes_are_refused():
    with pytest.raises(InputError, match="do not make a batch"):
        collate([item("a"), item("b", frames=3)])


def test_a_batch_of_which_some_clips_have_labels_is_refused():
    with pytest.raises(InputError, match="1 of 2 clips of a batch have labels"):
        collate([item("a", [[1], [2]]), item("b")], GRID)


def test_patches_that_the_grid_lacks_are_refused_with_the_video():
    with pytest.raises(InputError, match=r"'b' hold patch index 4: indices below 4"):
        collate([item("a", [[1], [2]]), item("b", [[0], [4]])], GRID)
