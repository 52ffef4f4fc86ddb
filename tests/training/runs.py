"""Training runs small enough for tests: tiny models, clips of two frames, a handful of steps."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from autogaze.gaze.grid import PatchGrid
from autogaze.train import compose
from autogaze.training.builders import build_objective
from autogaze.training.distributed import Process
from autogaze.training.settings import TrainingSettings, read_settings
from autogaze.training.trainer import Trainer

FRAMES = 2
ALGORITHMS = {
    "reconstruction": "synthetic_video_mae_reconstruction",
    "ntp": "synthetic_video_mae_reconstruction_ar_gaze_ntp",
    "distillation": "synthetic_video_mae_reconstruction_ar_gaze_distillation",
    "grpo": "synthetic_video_mae_reconstruction_ar_gaze_grpo",
}
"""Algorithm to the configuration that uses it."""

TINY: dict[str, Any] = {
    "algorithm": {},
    "dataset": {"clip_len": FRAMES, "gt_gazing_pos_paths": {"train": "labels", "val": "labels"}},
    "model": {
        "gaze_model_config": {
            "vision_model_config": {"hidden_dim": 16, "out_dim": 24},
            "connector_config": {"hidden_dim": 24},
            "gaze_decoder_config": {
                "hidden_size": 24,
                "intermediate_size": 32,
                "num_attention_heads": 3,
                "num_hidden_layers": 1,
            },
        },
        "gazing_ratio_config": {"exponential": {"gazing_ratio_max": 0.08}},
        "gazing_ratio_each_frame_config": {"dirichlet": {"alpha": "2,1"}},
    },
    "task": {
        "recon_model_config": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "decoder_hidden_size": 16,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 32,
        },
        "recon_sample_rate": 0.5,
        "mask_selectors": {"random": 1, "coarse_first": 1},
        "mask_group_size": 1,
        "validation_ratios": [0.05],
    },
    "trainer": {
        "batch_size": 4,
        "per_gpu_max_batch_size": 2,
        "n_epochs": 2,
        "val_nsteps": 1000,
        "save_nsteps": 1000,
        "device": "cpu",
        "lr": 1e-3,
    },
}


class Clips:
    """Labelled clips of coloured squares; another epoch shows others."""

    def __init__(self, count: int, patches: int = 265) -> None:
        self.count, self.patches, self.epoch = count, patches, 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        stream = np.random.RandomState([self.epoch, index])
        squares = stream.randint(0, 256, (FRAMES, 7, 7, 3), dtype=np.uint8)
        gazes = [stream.permutation(self.patches)[: stream.randint(1, 14)].tolist() for _ in range(FRAMES)]
        return {
            "frames": torch.from_numpy(squares.repeat(32, axis=1).repeat(32, axis=2)),
            "video_path": f"set/train/{index}.mp4",
            "gt_gazing_info": {
                "gazing_pos": gazes,
                "task_losses": [stream.rand(len(frame)).tolist() for frame in gazes],
            },
        }


def settings(
    algorithm: str,
    folder: Path,
    *,
    workers: int = 0,
    scales: str | None = None,
    replay: tuple[int, int] = (1, 1),
    **trainer: Any,
) -> TrainingSettings:
    """Return the settings of a tiny run that writes below ``folder``; ``replay`` is how many batches are
    prepared together, and how often each is used."""
    values = _merged(compose(ALGORITHMS[algorithm]), TINY)
    if algorithm == "grpo":
        values["algorithm"]["group_size"] = 2
    values["algorithm"] |= dict(zip(("steps_per_generation", "num_iterations"), replay, strict=True))
    values["dataset"]["num_workers"] = workers
    if scales is not None:
        patches = PatchGrid.parse(scales, 16).patches_per_frame
        values["model"] |= {"scales": scales, "num_vision_tokens_each_frame": patches}
        values["task"]["scales"] = scales
    values["trainer"] |= {"logdir": str(folder), "exp_name": algorithm} | trainer
    return read_settings(values)


def tiny_trainer(
    algorithm: str,
    folder: Path,
    process: Process | None = None,
    videos: int = 8,
    train_data: Clips | None = None,
    **changes: Any,
) -> Trainer:
    """Return the trainer of a tiny run: four steps in two epochs unless ``changes``, arguments of
    :func:`settings`, say otherwise."""
    asked = settings(algorithm, folder, **changes)
    process = process or Process(torch.device("cpu"))
    objective = build_objective(asked)
    patches = objective.grid.patches_per_frame
    train_data = train_data or Clips(videos, patches)
    return Trainer(asked, objective, train_data, Clips(2, patches), process)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Return a copy of what is trained."""
    return {
        f"{name}.{key}": tensor.clone()
        for name, model in trainer.models.items()
        for key, tensor in model.state_dict().items()
    }


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        if name != "mask_selectors" and isinstance(change, dict) and isinstance(merged.get(name), dict):
            change = _merged(merged[name], change)
        merged[name] = change
    return merged
