"""Builders of data sets, models and the objective from settings."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import Subset

from autogaze.checkpoints import load_strict, read_state
from autogaze.datasets.labels import check_scales
from autogaze.datasets.synthetic import SyntheticVideos
from autogaze.embedded import gaze_checkpoint
from autogaze.embedded.reconstructor import CONFIG
from autogaze.errors import InputError
from autogaze.initialization.gaze_model import initialize
from autogaze.initialization.reconstructor import initial_state
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig
from autogaze.models.autogaze.budgets import draw_ratio, draw_ratios, draw_requirement
from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig, VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, architecture
from autogaze.tasks.video_mae_reconstruction.released import check_settings
from autogaze.training.algorithms.distillation import DistillationSettings, GainDistillation
from autogaze.training.algorithms.grpo import GRPO, GRPOSettings
from autogaze.training.algorithms.ntp import NextTokenPrediction
from autogaze.training.algorithms.objective import Objective
from autogaze.training.algorithms.reconstruction import Reconstruction
from autogaze.training.masks import MaskMixture, Masks, PolicyMasks
from autogaze.training.released import check_preprocessing
from autogaze.training.seeds import derived_seed
from autogaze.training.settings import DatasetSettings, TaskSettings, TrainingSettings

EMBEDDED = "embedded"
"""Name of the embedded reconstructor's architecture."""


def build_dataset(settings: DatasetSettings, split: Literal["train", "val"]) -> Any:
    """Return the clips of a split, as a map-style data set."""
    labels = getattr(settings.gt_gazing_pos_paths, split)
    if settings.name == "synthetic":
        return _synthetic(settings, split, labels)
    if settings.root is None:
        raise InputError(
            "dataset.root is not set; name folders with train/ and val/ inside, joined by commas"
        )
    from autogaze.datasets.video_folder import VideoFolder

    augmentation = settings.train_data_aug if split == "train" else None
    videos = VideoFolder(
        settings.root,
        split,
        gt_gazing_pos_paths=labels,
        random_sample_frame=settings.random_sample_frame,
        train_data_aug=None if augmentation is None else augmentation.model_dump(),
        clip_len=settings.clip_len,
        frame_sample_rate=settings.frame_sample_rate,
        video_ext=settings.video_ext,
        size=settings.size,
        seed=settings.seed,
    )
    if split == "val" and settings.val_length is not None:
        return Subset(videos, range(min(settings.val_length, len(videos))))
    return videos


def _synthetic(settings: DatasetSettings, split: Literal["train", "val"], labels: str | None) -> Any:
    style, length = (
        (settings.style, settings.train_length)
        if split == "train"
        else (settings.val_style, settings.val_length)
    )
    if length is None:
        raise InputError(f"dataset.{split}_length is not set; synthetic clips have no end, so give a number")
    return SyntheticVideos(split, style, settings.seed, settings.clip_len, settings.size, length, labels)


def gaze_config(model: Mapping[str, Any]) -> AutoGazeConfig:
    """Return the gaze model's configuration from the group ``model``, which says of pictures what is done
    anyway."""
    return AutoGazeConfig(**{name: value for name, value in model.items() if name != "preprocessing"})


def build_task(settings: TaskSettings, weights: str | None) -> VideoMAEReconstruction:
    """Return a reconstructor: with the weights of a checkpoint, or new ones.

    ``weights`` is a folder or hub id, which knows its own sizes, or as in the released training a file of
    weights alone, whose sizes the group ``task`` gives.
    """
    attention = settings.attn_implementation, settings.attn_mode
    if weights is not None and not Path(weights).is_file():
        return VideoMAEReconstruction.from_checkpoint(weights, None, attention[0], attn_mode=attention[1])
    check_settings(settings.recon_model_config, "task.recon_model_config")
    base = CONFIG.to_dict() if settings.recon_model == EMBEDDED else architecture(settings.recon_model)
    config = VideoMAEConfig.from_dict(base | settings.recon_model_config | {"scales": settings.scales})
    features = [loss for loss in config.losses if loss in FEATURE_BACKBONES]
    if features and weights is None:
        raise InputError(
            f"the losses {', '.join(features)} compare features of trained networks, and a new reconstructor "
            "has none; name a checkpoint that holds them in trainer.task_weights, or use loss_type l1"
        )
    task = VideoMAEReconstruction(
        replace(config, trained=True), attn_implementation=attention[0], attn_mode=attention[1]
    )
    if weights is None:
        load_strict(task, initial_state(config), "the initial state")
    else:
        load_strict(task, read_state(Path(weights)), f"{weights} with the sizes of the group 'task'")
    return task


def build_gaze(model: dict[str, Any], weights: str | None, seed: int) -> AutoGaze:
    """Return a gaze model with the strategies of ``model``, its configuration: with the weights of a
    checkpoint, or new ones."""
    config = gaze_config(model)
    if weights is None:
        gaze = AutoGaze(config)
        initialize(gaze, derived_seed(seed, "gaze weights") % 2**32)
        return _with_attention(gaze, config)
    gaze = AutoGaze.from_pretrained(gaze_checkpoint(weights))
    gaze.float()  # weights may be shipped in half precision, in which they cannot be trained
    if gaze.arch != config.architecture():
        raise InputError(
            f"the gaze model in {weights} has other sizes than the group 'model' says; give the sizes of the "
            "checkpoint, or leave trainer.gaze_weights out"
        )
    gaze.config = config
    return _with_attention(gaze, config)


def _with_attention(gaze: AutoGaze, config: AutoGazeConfig) -> AutoGaze:
    if config.use_flash_attn:
        gaze.attn_implementation = "flash_attention_2"
    return gaze


def build_objective(settings: TrainingSettings) -> Objective:
    """Return what the run minimises, with its models."""
    _check_parts(settings)
    algorithm, trainer = settings.algorithm, settings.trainer
    if algorithm.name == "ntp":
        gaze = build_gaze(settings.model, trainer.gaze_weights, trainer.seed)
        return NextTokenPrediction(
            gaze,
            algorithm.optimize_task_loss_prediction,
            algorithm.step_positions,
            mirror=algorithm.mirror,
        )
    task = build_task(settings.task, trainer.task_weights)
    if algorithm.name == "dummy":
        gaze = build_gaze(settings.model, trainer.gaze_weights, trainer.seed)
        temperature = trainer.temp_schedule_args.exp
        policy = PolicyMasks(gaze, temperature.temp_start, temperature.temp_end)
        return _reconstruction(settings, task, policy)
    if algorithm.name == "grpo":
        gaze = build_gaze(settings.model, trainer.gaze_weights, trainer.seed)
        return GRPO(gaze, task, _grpo_settings(settings), train_task=trainer.train_task)
    if algorithm.name == "distillation":
        gaze = build_gaze(settings.model, trainer.gaze_weights, trainer.seed)
        return GainDistillation(gaze, task, _distillation_settings(settings))
    masks = MaskMixture(
        settings.task.mask_selectors,
        gaze_config(settings.model),
        task.config.grid,
        settings.task.mask_group_size,
    )
    return _reconstruction(settings, task, masks)


def _reconstruction(settings: TrainingSettings, task: VideoMAEReconstruction, masks: Masks) -> Reconstruction:
    return Reconstruction(task, masks, settings.task.recon_sample_rate, settings.task.validation_ratios)


def check_labels(settings: TrainingSettings) -> None:
    """Refuse label files of another patch grid than the gaze model's."""
    labels = settings.dataset.gt_gazing_pos_paths
    for paths in filter(None, (labels.train, labels.val)):
        check_scales(paths, gaze_config(settings.model).scales)


def doubts(settings: TrainingSettings) -> list[str]:
    """Return what can be run and is hardly meant."""
    trainer, name, said = settings.trainer, settings.algorithm.name, list[str]()
    if name in ("grpo", "distillation") and trainer.task_weights is None:
        said.append(
            f"trainer.task_weights is null: {name} learns from the losses of a reconstructor, and those of a "
            "new one say nothing"
        )
    if name in ("grpo", "dummy") and trainer.gaze_weights is None:
        does = "grpo improves a gaze model" if name == "grpo" else "dummy paints what a gaze model chooses"
        said.append(f"trainer.gaze_weights is null: {does}, and a new one chooses at random")
    return said


def _grpo_settings(settings: TrainingSettings) -> GRPOSettings:
    algorithm, temperature = settings.algorithm, settings.trainer.temp_schedule_args.exp
    return GRPOSettings(
        group_size=algorithm.group_size,
        discount_factor=algorithm.discount_factor,
        optimize_task_loss_prediction=algorithm.optimize_task_loss_prediction,
        temp_start=temperature.temp_start,
        temp_end=temperature.temp_end,
        recon_sample_rate=settings.task.recon_sample_rate,
        validation_ratios=tuple(settings.task.validation_ratios),
    )


def _distillation_settings(settings: TrainingSettings) -> DistillationSettings:
    algorithm, temperature = settings.algorithm, settings.trainer.temp_schedule_args.exp
    return DistillationSettings(
        gain_rates=algorithm.gain_rates,
        sharpness=algorithm.sharpness,
        optimize_task_loss_prediction=algorithm.optimize_task_loss_prediction,
        temp_start=temperature.temp_start,
        temp_end=temperature.temp_end,
        validation_ratios=tuple(settings.task.validation_ratios),
    )


_TRAINABLE = {
    "reconstruction": [(False, True)],
    "ntp": [(True, False)],
    "distillation": [(True, False)],
    "grpo": [(True, False), (True, True)],
    "dummy": [(False, True), (True, True)],  # nothing reaches the gaze model either way
}
"""The values of trainer.train_gaze and trainer.train_task that an algorithm takes."""


def _check_parts(settings: TrainingSettings) -> None:
    """Refuse an algorithm that cannot train what it is asked to, or has nothing to learn from."""
    trainer, name = settings.trainer, settings.algorithm.name
    if (trainer.train_gaze, trainer.train_task) not in _TRAINABLE[name]:
        takes = " or ".join(f"train_gaze={g} and train_task={t}" for g, t in _TRAINABLE[name]).lower()
        raise InputError(f"algorithm {name} takes {takes}; set trainer.train_gaze and trainer.train_task so")
    if trainer.train_task and trainer.detach_task:
        raise InputError(
            "trainer.detach_task=true keeps gradients from the reconstructor that trainer.train_task=true "
            "is to train; set one of them to false"
        )
    if trainer.min_lr > trainer.lr and trainer.lr_schedule != "constant":
        raise InputError(
            f"trainer.min_lr {trainer.min_lr:g} is above trainer.lr {trainer.lr:g}, from which rates fall; "
            "exchange them"
        )
    check_preprocessing(settings.model.get("preprocessing") or {}, settings.dataset.size)
    size = gaze_config(settings.model).architecture().image_size
    if size != settings.dataset.size:
        raise InputError(
            f"dataset.size is {settings.dataset.size} and the models see pictures of {size} x {size}; set it "
            f"to {size}"
        )
    replay = settings.algorithm.steps_per_generation, settings.algorithm.num_iterations
    if name != "distillation" and replay != (1, 1):
        raise InputError(
            f"algorithm {name} learns from every batch once, right after it was prepared; "
            "steps_per_generation and num_iterations other than 1 are for distillation"
        )
    if name == "grpo" and settings.algorithm.group_size < 2:
        raise InputError(
            "algorithm grpo compares rollouts of a video with each other, and algorithm.group_size is 1; set "
            "it to 2 or more"
        )
    if name != "ntp":
        _check_budgets(settings)
    labels = settings.dataset.gt_gazing_pos_paths
    if name == "ntp" and not (labels.train and labels.val):
        raise InputError(
            "algorithm ntp learns recorded gazes; name the files that 'python -m autogaze.label' wrote in "
            "dataset.gt_gazing_pos_paths.train and .val"
        )


def _check_budgets(settings: TrainingSettings) -> None:
    """Refuse strategies that budgets cannot be drawn by, before anything is trained."""
    config = gaze_config(settings.model)
    with torch.random.fork_rng(devices=[]):
        try:
            ratio = draw_ratio(config, training=True)
            draw_ratios(config, True, ratio, settings.dataset.clip_len, rollout=lambda caps: caps)
            if config.has_task_loss_requirement_during_training:
                draw_requirement(config, training=True)
        except InputError as error:
            raise InputError(f"model.{error}") from None
