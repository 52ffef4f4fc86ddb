"""The settings of a training run, checked: what the configuration groups may say.

The defaults are in ``autogaze/configs``; here are names and types. Sections of the gaze model and of the
reconstructor are those of their checkpoints' own configurations.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from autogaze.datasets.video_folder import ResizedCrop
from autogaze.errors import InputError, unknown_name

Fraction = Annotated[float, Field(gt=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelPaths(_Section):
    """Label files of each split, several joined by commas; wildcards allowed."""

    train: str | None
    val: str | None


def _check_bounds(values: Any) -> Any:
    known = [item.name for item in fields(ResizedCrop)]
    for name in values if isinstance(values, Mapping) else ():
        if name not in known:
            raise unknown_name("bound of random_resized_crop", name, known)
    return values


class Augmentation(_Section):
    """How training clips are varied."""

    aug_type: Literal["random_resized_crop"] | None
    random_resized_crop: Annotated[ResizedCrop, BeforeValidator(_check_bounds)] = ResizedCrop()


class DatasetSettings(_Section):
    """Group ``dataset``."""

    name: Literal["synthetic", "video_folder"]
    clip_len: PositiveInt
    size: PositiveInt
    num_workers: int = Field(ge=0)
    gt_gazing_pos_paths: LabelPaths
    seed: int = Field(ge=0)
    """Of synthetic clips and augmentation."""
    train_length: PositiveInt | None = None
    """Synthetic clips in an epoch."""
    val_length: PositiveInt | None = None
    """Clips of the validation split that are looked at; None for all of a folder's."""
    style: Literal["mixed", "held_out"] = "mixed"
    val_style: Literal["mixed", "held_out"] = "mixed"
    root: str | None = None
    """Folders with ``train`` and ``val`` inside, joined by commas."""
    random_sample_frame: bool = False
    frame_sample_rate: PositiveInt = 1
    video_ext: str = ".mp4"
    train_data_aug: Augmentation | None = None


class TaskSettings(_Section):
    """Group ``task``."""

    recon_model: str
    """``embedded``, or a published network such as ``facebook/vit-mae-large``."""
    recon_model_config: dict[str, Any]
    scales: str
    recon_sample_rate: Fraction
    """Share of a clip's frames that is reconstructed in a training step."""
    attn_implementation: str
    """Attention backend of the reconstructor."""
    attn_mode: str | None = None
    """Attention of the networks behind feature losses, by transformers' name; null for its own choice."""
    mask_selectors: dict[str, NonNegativeFloat]
    """Selector to its weight among those that a reconstructor is trained with."""
    mask_group_size: PositiveInt
    validation_ratios: list[Fraction]


class AlgorithmSettings(_Section):
    """Group ``algorithm``."""

    name: Literal["reconstruction", "ntp", "distillation", "grpo", "dummy"]
    group_size: PositiveInt = 1
    discount_factor: Fraction = 1.0
    optimize_task_loss_prediction: bool = True
    step_positions: Literal["sequential", "released"] = "sequential"
    """Of recorded gazes in ntp; distillation and grpo always learn where the released loop chooses."""
    mirror: bool = False
    """Whether ntp exchanges left and right in half of the videos."""
    gain_rates: tuple[NonNegativeFloat, ...] = ()
    """Which share of its score a patch of each scale gains, in distillation."""
    sharpness: PositiveFloat = 1.0
    """Power of estimated gains that the targets of distillation are in proportion to."""
    steps_per_generation: PositiveInt = 1
    """Global batches whose rollouts are made together, in distillation."""
    num_iterations: PositiveInt = 1
    """Optimizer steps on each global batch, in distillation."""


class ExponentialTemperature(_Section):
    temp_start: PositiveFloat
    temp_end: PositiveFloat


class TemperatureSchedule(_Section):
    """Sampling temperature of rollouts over the run."""

    mode: Literal["exp"]
    exp: ExponentialTemperature


class TrainerSettings(_Section):
    """Group ``trainer``."""

    batch_size: PositiveInt
    """Videos in an optimizer step, over all processes."""
    per_gpu_max_batch_size: PositiveInt
    """Most videos that go through the model at once in a process, in GRPO with all their rollouts; gradients
    are accumulated beyond."""
    lr: PositiveFloat
    min_lr: NonNegativeFloat
    lr_schedule: Literal["linear", "linear_w_warmup", "constant"]
    optimizer: Literal["adam", "adamw", "sgd"]
    weight_decay: NonNegativeFloat
    clip_grad_norm: PositiveFloat | None
    precision: Literal["float32", "bfloat16"]
    device: str
    train_gaze: bool
    train_task: bool
    detach_task: bool
    n_epochs: PositiveInt
    val_nsteps: PositiveInt
    save_nsteps: PositiveInt
    val_only: bool
    logdir: str
    exp_name: str
    use_wandb: bool
    use_tensorboard: bool
    resume: str | None
    """``auto``, a ``*_train.pt`` file, or null for a fresh start."""
    gaze_weights: str | None
    task_weights: str | None
    seed: int = Field(ge=0)
    temp_schedule_args: TemperatureSchedule


class TrainingSettings(_Section):
    """All groups of a run."""

    algorithm: AlgorithmSettings
    dataset: DatasetSettings
    model: dict[str, Any]
    """``config.json`` of the gaze model."""
    task: TaskSettings
    trainer: TrainerSettings

    def identity(self) -> dict[str, Any]:
        """Return what tells the run from others, by dotted name: its algorithm, its data, and the sizes and
        constants of its gaze model.

        Paths are left out, since data may move.
        """
        sizes = {name: self.model.get(name) for name in ("scales", "gaze_model_config")}
        data = self.dataset.model_dump(include=set(_IDENTITY_OF_DATA))
        if data["train_data_aug"] and data["train_data_aug"]["aug_type"] is None:
            data["train_data_aug"] = None  # bounds of crops that are not made
        return {
            **_dotted("algorithm", self.algorithm.model_dump()),
            **_dotted("dataset", data),
            **_dotted("model", sizes),
        }


def _dotted(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a nested mapping by their dotted names."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}"
        named |= _dotted(key, value) if isinstance(value, Mapping) else {key: value}
    return named


_IDENTITY_OF_DATA = (
    "name",
    "clip_len",
    "size",
    "seed",
    "style",
    "random_sample_frame",
    "frame_sample_rate",
    "train_data_aug",
)


def read_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """Return the settings in a nested mapping; raise ``InputError`` for the first that cannot be used."""
    try:
        return TrainingSettings.model_validate(values)
    except ValidationError as error:
        # A misspelt key is reported twice, as unknown and as missing: the first says what happened.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown_name("training setting", place, _known(TrainingSettings)) from None
        refusal = first.get("ctx", {}).get("error")
        if isinstance(refusal, InputError):
            raise InputError(f"the training setting {place} cannot be used: {refusal}") from None
        if first["type"] == "missing":
            raise InputError(f"the training setting {place} is missing; give it a value") from None
        raise InputError(
            f"the training setting {place} cannot be {first['input']!r}: {first['msg'].lower()}"
        ) from None


def _known(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        for section in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(section, type) and issubclass(section, BaseModel):
                names += _known(section, f"{prefix}{name}.")
    return names
