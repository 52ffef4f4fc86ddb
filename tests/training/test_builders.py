import numpy as np
import pytest
import torch

from autogaze.datasets.labels import GazeLabels, settings_note, write_labels
from autogaze.datasets.synthetic import SyntheticVideos
from autogaze.embedded.reconstructor import CONFIG
from autogaze.errors import InputError
from autogaze.train import compose
from autogaze.training.builders import build_dataset, build_objective, build_task, check_labels, doubts
from autogaze.training.settings import read_settings
from tests.training.runs import settings

DECODER = "model.gaze_model_config.gaze_decoder_config"


def composed(name, *overrides):
    return read_settings(compose(name, overrides))


def test_synthetic_clips_are_those_the_settings_name(tmp_path):
    asked = composed(
        "synthetic_video_mae_reconstruction",
        "dataset.clip_len=2",
        "dataset.train_length=3",
        "dataset.val_length=2",
        "dataset.val_style=held_out",
        "dataset.seed=5",
    ).dataset
    train, val = build_dataset(asked, "train"), build_dataset(asked, "val")
    assert (len(train), len(val)) == (3, 2)
    assert train[1]["frames"].equal(SyntheticVideos("train", "mixed", 5, clip_len=2)[1]["frames"])
    assert val[1]["frames"].equal(SyntheticVideos("val", "held_out", 5, clip_len=2)[1]["frames"])


def test_labels_reach_the_data(tmp_path):
    clips = SyntheticVideos("train", clip_len=2)
    labels = {clips.path(2): GazeLabels(((0,), (1, 2)), ((0.5,), (0.4, 0.3)))}
    write_labels(tmp_path / "labels.json", labels)
    asked = composed(
        "synthetic_video_mae_reconstruction_ar_gaze_ntp",
        "dataset.clip_len=2",
        f"dataset.gt_gazing_pos_paths.train={tmp_path}/labels.json",
    ).dataset
    (item,) = [build_dataset(asked, "train")[0]]
    assert item["video_path"] == clips.path(2)
    assert item["gt_gazing_info"]["gazing_pos"] == [[0], [1, 2]]


def test_folders_of_videos_are_cropped_at_random_in_training_alone(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        picture = np.random.RandomState(0).randint(0, 256, (4, 240, 240, 3), dtype=np.uint8)
        np.savez(tmp_path / split / "clip.npz", frames=picture)
    asked = composed(
        "video_folder_video_mae_reconstruction_ar_gaze_grpo",
        f"dataset.root={tmp_path}",
        "dataset.clip_len=2",
        "dataset.video_ext=.npz",
    ).dataset
    train, val = build_dataset(asked, "train"), build_dataset(asked, "val")
    shown = [data[0]["frames"] for data in (train, val)]
    assert all(frames.shape == (2, 224, 224, 3) for frames in shown)
    train.set_epoch(1)
    assert not train[0]["frames"].equal(shown[0])
    val.set_epoch(1)
    assert val[0]["frames"].equal(shown[1])


def test_as_many_videos_of_a_folder_validate_as_asked(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for name in "abc":
            np.save(tmp_path / split / f"{name}.npy", np.zeros((2, 16, 16, 3), np.uint8))
    name, root = "video_folder_video_mae_reconstruction_ar_gaze_grpo", f"dataset.root={tmp_path}"
    for asked, found in (("null", 3), ("2", 2), ("9", 3)):
        data = composed(name, root, "dataset.clip_len=2", f"dataset.val_length={asked}").dataset
        assert len(build_dataset(data, "train")) == 3
        val = build_dataset(data, "val")
        assert [val[n]["video_path"][-5] for n in range(len(val))] == list("abc")[:found]


def test_a_new_reconstructor_has_the_embedded_sizes_and_counts_as_trained():
    task = build_task(composed("synthetic_video_mae_reconstruction").task, None)
    assert task.config.hidden_size == CONFIG.hidden_size
    assert task.config.trained
    other = build_task(composed("synthetic_video_mae_reconstruction").task, None)
    for name, tensor in task.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("reconstruction", ["trainer.train_gaze=true"], "takes train_gaze=false and train_task=true"),
        ("ntp", ["trainer.train_task=true"], "algorithm ntp takes train_gaze=true and train_task=false"),
        ("ntp", [], "name the files that 'python -m autogaze.label' wrote"),
        ("grpo", ["trainer.train_task=true", "trainer.detach_task=true"], "set one of them to false"),
        ("grpo", ["+algorithm.num_iterations=2"], "num_iterations other than 1 are for distillation"),
        ("reconstruction", ["task.recon_model=vit"], "unknown network architecture 'vit'"),
        ("reconstruction", ["task.recon_model_config.loss_type=l1+siglip2"], "must pair up"),
        (
            "reconstruction",
            ["+task.recon_model_config.hidden_sise=8"],
            "key of task.recon_model_config 'hidden_sise': did you mean 'hidden_size'",
        ),
        (
            "reconstruction",
            ["task.recon_model_config.loss_type=l1+siglip2", "task.recon_model_config.loss_weights=1+0.3"],
            "siglip2 compare features .* trainer.task_weights",
        ),
        ("grpo", ["algorithm.group_size=1"], "algorithm.group_size is 1; set it to 2 or more"),
        ("grpo", ["trainer.min_lr=1"], "trainer.min_lr 1 is above trainer.lr"),
        ("grpo", ["dataset.size=100"], "dataset.size is 100 and the models see pictures of 224 x 224"),
        ("reconstruction", ["dataset.clip_len=4"], r"dirichlet.alpha has 16 values and clips have 4 frames"),
        ("grpo", [f"{DECODER}.num_hidden_layers=two"], "num_hidden_layers in gaze_decoder_config is two"),
        ("grpo", ["trainer.gaze_weights=nowhere"], "nowhere does not exist"),
        ("grpo", ["trainer.task_weights=nowhere"], "nowhere does not exist"),
    ],
)
def test_what_cannot_be_trained_is_refused(name, overrides, message):
    suffix = "" if name == "reconstruction" else f"_ar_gaze_{name}"
    with pytest.raises(InputError, match=message):
        build_objective(composed(f"synthetic_video_mae_reconstruction{suffix}", *overrides))


@pytest.mark.parametrize(
    ("strategy", "values", "message"),
    [
        ("fixed", {"gazing_ratio": 1.5}, "fixed.gazing_ratio is 1.5: give a number from 0 to 1"),
        ("fixed", {"gazing_ratio": "null"}, "fixed.gazing_ratio is None: give a number from 0 to 1"),
        ("uniform", {"gazing_ratio_min": -1}, "uniform.gazing_ratio_min is -1"),
        ("exponential", {"gazing_ratio_max": "abc"}, "exponential.gazing_ratio_max is abc"),
        (
            "exponential",
            {"gazing_ratio_min": 0.5},
            "exponential.gazing_ratio_max is 0.2: give a number from 0.5 to 1",
        ),
        ("exponential", {"lambda": 0}, "exponential.lambda is 0"),
    ],
)
def test_budgets_that_cannot_be_drawn_are_refused_before_training(strategy, values, message):
    group = "model.gazing_ratio_config"
    overrides = [f"{group}.{strategy}.{name}={value}" for name, value in values.items()]
    asked = composed(
        "synthetic_video_mae_reconstruction_ar_gaze_grpo",
        f"{group}.sample_strategy_during_training={strategy}",
        *overrides,
    )
    with pytest.raises(InputError, match=f"^{group}.{message}"):
        build_objective(asked)


@pytest.mark.parametrize("alpha", ["0", "'10,x'", "null"])
def test_weights_of_frames_that_are_none_are_refused(alpha):
    group = "model.gazing_ratio_each_frame_config"
    asked = composed(
        "synthetic_video_mae_reconstruction_ar_gaze_grpo",
        "dataset.clip_len=2",
        f"{group}.sample_strategy_during_training=dirichlet",
        f"{group}.dirichlet.alpha={alpha}",
    )
    with pytest.raises(InputError, match=f"^{group}.dirichlet.alpha is"):
        build_objective(asked)


def test_labels_of_another_patch_grid_are_refused(tmp_path):
    file = tmp_path / "labels.json"
    write_labels(file, {"a/b/c.mp4": GazeLabels(((0,),), ((0.5,),))})
    settings_note(file).write_text('{"scales": "112+224"}')
    paths = [f"dataset.gt_gazing_pos_paths.{split}={file}" for split in ("train", "val")]
    asked = composed("synthetic_video_mae_reconstruction_ar_gaze_ntp", *paths)
    with pytest.raises(InputError, match=r"112\+224"):
        check_labels(asked)


def test_what_is_hardly_meant_is_said():
    said = doubts(composed("synthetic_video_mae_reconstruction_ar_gaze_grpo"))
    assert [each.split(" is null")[0] for each in said] == ["trainer.task_weights", "trainer.gaze_weights"]
    assert doubts(composed("synthetic_video_mae_reconstruction")) == []


def test_weights_of_another_size_are_refused(tmp_path):
    build_objective(settings("ntp", tmp_path)).gaze.save_pretrained(tmp_path / "tiny")
    with pytest.raises(InputError, match="tiny has other sizes than the group 'model' says"):
        build_objective(
            composed(
                "synthetic_video_mae_reconstruction_ar_gaze_grpo", f"trainer.gaze_weights={tmp_path}/tiny"
            )
        )


def test_weights_in_half_precision_are_trained_in_single(tmp_path):
    build_objective(settings("ntp", tmp_path)).gaze.half().save_pretrained(tmp_path / "half")
    gaze = build_objective(settings("ntp", tmp_path, gaze_weights=f"{tmp_path}/half")).gaze
    assert {parameter.dtype for parameter in gaze.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset=video_folder"], "dataset.root is not set"),
        (["dataset.train_length=null"], "dataset.train_length is not set"),
    ],
)
def test_data_that_is_not_named_is_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        build_dataset(composed("synthetic_video_mae_reconstruction", *overrides).dataset, "train")
