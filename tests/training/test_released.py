"""The released training commands run, and settings that cannot mean anything here are refused by name."""

import numpy as np
import pytest
import torch

from autogaze.embedded.reconstructor import CONFIG
from autogaze.errors import BackendUnavailable, InputError
from autogaze.models.autogaze import AutoGaze
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.train import compose, main
from autogaze.training.builders import build_gaze, build_objective, build_task, doubts
from autogaze.training.released import check_flash_attention, check_preprocessing
from autogaze.training.settings import read_settings
from tests.reference.fill import clip, fill
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, TINY, reconstructor

NTP, GRPO = (f"video_folder_video_mae_reconstruction_ar_gaze_{stage}" for stage in ("ntp", "grpo"))
SCALES = "32+64+112+224"
RECIPE = (
    "model.gazing_ratio_config.sample_strategy_during_training=fixed",
    "model.gazing_ratio_config.sample_strategy_during_inference=fixed",
    f"model.scales={SCALES}",
    "model.num_vision_tokens_each_frame=265",
    "model.has_task_loss_requirement_during_training=False",
    "model.gaze_model_config.gaze_decoder_config.num_multi_token_pred=10",
    "task.recon_model=facebook/vit-mae-large",
    "task.recon_model_config.loss_type=l1+dinov2_reg+siglip2",
    "task.recon_model_config.loss_weights=1+0.3+0.3",
    f"task.scales={SCALES}",
    "algorithm.optimize_task_loss_prediction=True",
    "trainer.train_gaze=True",
    "trainer.train_task=False",
    "trainer.detach_task=True",
    "trainer.lr=5e-4",
    "trainer.temp_schedule_args.exp.temp_end=0.3",
    "trainer.temp_schedule_args.exp.temp_start=3",
)
"""What both released commands set."""

GROUPS = ("model=autogaze", "trainer=trainer")


def settings(name, *overrides):
    return read_settings(compose(name, overrides))


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("model=autogaze", "model.scales", "224"),
        ("model=autogaze", "model.num_vision_tokens_each_frame", 196),
        ("model=autogaze", "model.gaze_model_config.gaze_decoder_config.num_multi_token_pred", 1),
        ("model=autogaze", "model.gazing_ratio_config.fixed.gazing_ratio", 0.5),
        ("trainer=trainer", "trainer.optimizer", "sgd"),
        ("trainer=trainer", "trainer.lr_schedule", "linear_w_warmup"),
        ("trainer=trainer", "trainer.temp_schedule_args.exp.temp_start", 1e4),
        ("algorithm=dummy", "algorithm.name", "dummy"),
    ],
)
def test_the_released_groups_have_the_released_defaults(group, key, value):
    # The groups come before what a configuration sets itself, so that is left out.
    found = compose("bare", [group], _bare())
    for part in key.split("."):
        found = found[part]
    assert found == value


def _bare():
    from pathlib import Path

    return Path(__file__).parent / "configs"


@pytest.mark.parametrize("name", [NTP, GRPO])
def test_the_released_groups_go_with_the_released_overrides(name):
    asked = settings(name, *GROUPS, *RECIPE)
    assert (asked.trainer.optimizer, asked.trainer.detach_task) == ("sgd", True)
    assert asked.task.recon_model_config["loss_type"] == "l1+dinov2_reg+siglip2"


def test_a_run_without_a_name_is_called_after_what_it_is():
    values = compose(GRPO, ["trainer.exp_name=null", "trainer.lr=1e-4", "trainer.batch_size=8"])
    assert values["trainer"]["exp_name"] == f"{GRPO}_lr0.0001_bs8"


def test_released_settings_that_ask_for_what_is_done_are_taken():
    build_objective(
        settings(
            GRPO,
            "model.preprocessing.rescale_factor=0.00784314",
            "model.preprocessing.image_mean=[0.485,0.456,0.406]",
            "model.preprocessing.size.shortest_edge=224",
            "model.preprocessing.do_center_crop=False",
            "model.use_flash_attn=False",
            "model.max_batch_size=4",
            "task.attn_mode=sdpa",
            "task.recon_model_config.causal=True",
            "dataset.train_data_aug.aug_type=random_resized_crop",
            "dataset.train_data_aug.random_resized_crop.scale_min=0.08",
        )
    )


@pytest.mark.parametrize("size", [224, {"height": 224, "width": 224}, {"shortest_edge": 224}])
def test_the_size_of_clips_may_be_said_twice(size):
    check_preprocessing({"size": size}, 224)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_mean", [0.5, 0.5, 0.5], r"image_mean is \[0.5, 0.5, 0.5\].*with \[0.485, 0.456, 0.406\]"),
        ("image_std", [0.2, 0.2], r"image_std is \[0.2, 0.2\]"),
        ("image_std", "wide", "image_std is wide"),
        ("offset", False, "offset is False"),
        ("offset", 1, "offset is 1"),
        ("do_center_crop", True, "do_center_crop is True"),
        ("rescale_factor", 1 / 255, "rescale_factor is 0.0039"),
        ("size", {"shortest_edge": 384}, r"size is \{'shortest_edge': 384\}.*set dataset.size"),
        ("do_rezise", True, "'model.preprocessing.do_rezise': did you mean 'model.preprocessing.do_resize'"),
    ],
)
def test_pictures_other_than_those_trained_on_are_refused_with_the_cure(key, value, message):
    with pytest.raises(InputError, match=message):
        check_preprocessing({key: value}, 224)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.preprocessing.offset=False", "model.preprocessing.offset is False"),
        ("task.attn_mode=flash", "unknown attn_mode 'flash': known are eager"),
        ("+task.recon_model_config.causl=true", "'causl': did you mean 'causal'"),
    ],
)
def test_released_settings_that_cannot_mean_anything_end_a_run_before_it_begins(override, message):
    with pytest.raises(InputError, match=message):
        build_objective(settings(GRPO, override))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+dataset.train_data_aug.random_resized_crop.scale=1", "'scale': did you mean 'scale_"),
        ("dataset.train_data_aug.random_resized_crop.scale_min=2", "random_resized_crop takes from 2"),
        ("dataset.train_data_aug.random_resized_crop.ratio_min=wide", "ratio_min cannot be 'wide'"),
        ("dataset.train_data_aug.aug_type=flip", "train_data_aug.aug_type cannot be 'flip'"),
    ],
)
def test_bounds_of_crops_that_cannot_be_used_are_refused(override, message):
    with pytest.raises(InputError, match=message) as refusal:
        settings(GRPO, override)
    assert "dataset.train_data_aug" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_augmentation_can_be_asked_for_by_its_name_alone_and_not_for_labels(tmp_path):
    asked = settings(NTP, "dataset.train_data_aug.aug_type=random_resized_crop").dataset
    assert asked.train_data_aug.aug_type == "random_resized_crop"
    unset = settings(NTP)
    assert unset.dataset.train_data_aug.aug_type is None
    assert unset.identity()["dataset.train_data_aug"] is None  # as runs were told apart by before


@pytest.mark.parametrize("asked", ["task=siglip_video_feature_reconstruction", None])
def test_the_task_that_was_never_released_is_refused(asked, capsys):
    name = GRPO if asked else "video_folder_siglip_video_feature_reconstruction_ar_gaze_dummy"
    assert main(["--config-name", name, *([asked] if asked else [])]) == 2
    assert "never released; train with task=video_mae_reconstruction" in capsys.readouterr().err


def test_flash_attention_is_the_gaze_models_backend_where_it_can_run():
    asked = settings(GRPO, "model.use_flash_attn=True")
    assert build_gaze(asked.model, None, 0).attn_implementation == "flash_attention_2"
    assert build_gaze(settings(GRPO).model, None, 0).attn_implementation == "sdpa"
    check_flash_attention(asked, torch.device("cpu"))
    with pytest.raises(BackendUnavailable, match=r"flash_attention_2.* not on meta; use 'sdpa'"):
        check_flash_attention(asked, torch.device("meta"))
    check_flash_attention(settings(GRPO), torch.device("meta"))


def test_loss_networks_have_the_attention_asked_for(tmp_path):
    reconstructor(**ALL_LOSSES).save(tmp_path)
    asked = settings(GRPO, "task.attn_mode=eager").task
    task = build_task(asked, str(tmp_path))
    assert task.mae.get_submodule("siglip2").config._attn_implementation == "eager"
    assert task.mae.attn_implementation == "sdpa"


def released_file(folder, **config):
    """Weights as the released training and its checkpoint keep them: a file, every name with ``module.``."""
    task = reconstructor(**config)
    torch.save(
        {f"module.{name}": tensor for name, tensor in task.state_dict().items()}, folder / "videomae.pt"
    )
    return task, folder / "videomae.pt"


def sizes(values):
    given = {"max_num_frames": 8} | values
    return [
        f"{'' if name == 'max_num_frames' else '+'}task.recon_model_config.{name}={value}"
        for name, value in given.items()
    ]


def test_a_file_of_weights_is_read_with_the_sizes_of_the_group_task(tmp_path):
    original, file = released_file(tmp_path)
    task = build_task(settings(GRPO, *sizes(TINY)).task, str(file))
    for name, tensor in original.state_dict().items():
        assert torch.equal(task.state_dict()[name], tensor), name
    with pytest.raises(InputError, match=r"videomae.pt with the sizes of the group 'task' does not fit"):
        build_task(settings(GRPO).task, str(file))


@pytest.fixture
def videos(tmp_path):
    """A folder of two clips for each split."""
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(2):
            frames = np.random.RandomState(number).randint(0, 256, (2, 48, 64, 3), dtype=np.uint8)
            np.savez(tmp_path / "data" / split / f"{number}.npz", frames=frames)
    return [f"dataset.root='{tmp_path}/data'", "dataset.video_ext=.npz", "dataset.clip_len=2"]


SMALL = (
    "dataset.num_workers=0",
    "model.gaze_model_config.vision_model_config.hidden_dim=16",
    "model.gaze_model_config.vision_model_config.out_dim=24",
    "model.gaze_model_config.connector_config.hidden_dim=24",
    "model.gaze_model_config.gaze_decoder_config.hidden_size=24",
    "model.gaze_model_config.gaze_decoder_config.num_attention_heads=3",
    "model.gaze_model_config.gaze_decoder_config.num_hidden_layers=1",
    "task.validation_ratios=[0.05]",
    "trainer.device=cpu",
    "trainer.batch_size=2",
    "trainer.per_gpu_max_batch_size=2",
)


def test_the_released_second_stage_runs_from_a_file_of_weights(tmp_path, videos):
    _, file = released_file(tmp_path)
    l1 = ["task.recon_model_config.loss_type=l1", "task.recon_model_config.loss_weights='1'"]
    command = [
        *RECIPE,
        *GROUPS,
        *videos,
        *SMALL,
        *sizes(TINY),
        *l1,
        "model.gazing_ratio_config.fixed.gazing_ratio=0.05",
        "model.gazing_ratio_each_frame_config.sample_strategy_during_training=uniform",
        "algorithm.group_size=2",
        "model.use_flash_attn=True",
        "trainer.n_epochs=1",
        f"trainer.task_weights={file}",
        f"trainer.logdir={tmp_path}",
        "trainer.exp_name=stage2",
    ]
    assert main(["--config-name", GRPO, *command]) == 0
    assert AutoGaze.from_pretrained(tmp_path / "stage2" / "checkpoint_latest_gaze").arch.layers == 1


def test_dummy_trains_the_reconstructor_on_what_the_gaze_model_chooses(tmp_path, videos):
    command = [
        "algorithm=dummy",
        "trainer=trainer",
        *videos,
        *SMALL,
        *(
            f"+task.recon_model_config.{name}={value}"
            for name, value in TINY.items()
            if name != "max_num_frames"
        ),
        "model.gazing_ratio_config.sample_strategy_during_training=fixed",
        "model.gazing_ratio_config.fixed.gazing_ratio=0.05",
        "model.gazing_ratio_each_frame_config.sample_strategy_during_training=uniform",
        "task.recon_sample_rate=1",
        "trainer.n_epochs=1",
        "trainer.optimizer=adam",
        f"trainer.logdir={tmp_path}",
        "trainer.exp_name=dummy",
        "trainer.train_gaze=false",
        "trainer.train_task=true",
        "trainer.detach_task=false",
    ]
    asked = settings(GRPO, *command)
    assert [said.split(":")[0] for said in doubts(asked)] == ["trainer.gaze_weights is null"]
    before = build_objective(asked)
    assert main(["--config-name", GRPO, *command]) == 0
    trained = VideoMAEReconstruction.from_checkpoint(tmp_path / "dummy" / "checkpoint_latest_task")
    assert not (tmp_path / "dummy" / "checkpoint_latest_gaze").exists()
    start = before.task.state_dict()["mae.decoder.decoder_pred.weight"]
    assert not torch.equal(trained.state_dict()["mae.decoder.decoder_pred.weight"], start)


def test_dummy_draws_its_gazes_by_the_gaze_models_own_strategies():
    from autogaze.training.algorithms.objective import Moment

    asked = settings(
        GRPO,
        "algorithm=dummy",
        *SMALL,
        "dataset.clip_len=2",
        "trainer.train_gaze=false",
        "trainer.train_task=true",
        "model.gazing_ratio_config.sample_strategy_during_training=fixed",
        "model.gazing_ratio_config.fixed.gazing_ratio=0.05",
        "model.gazing_ratio_each_frame_config.sample_strategy_during_training=uniform",
    )
    masks = build_objective(asked).train().masks
    fill(masks.gaze, 1)
    first, again, later = (masks.draw(clip(0, 1, 2), Moment(0, step, 10)) for step in (0, 0, 5))
    assert first.gazes_each_frame().tolist() == [[13, 13]]
    assert torch.equal(first.gazing_pos, again.gazing_pos)
    assert not torch.equal(first.gazing_pos, later.gazing_pos)
    assert not any(parameter.requires_grad for parameter in masks.gaze.parameters())


def test_settings_of_the_embedded_reconstructor_are_unchanged_by_the_released_keys():
    task = build_task(settings("synthetic_video_mae_reconstruction").task, None)
    assert task.config.hidden_size == CONFIG.hidden_size
    assert task.config.losses == CONFIG.losses
