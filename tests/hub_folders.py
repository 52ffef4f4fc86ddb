"""Folders as a hub holds them: small seeded weights, configuration, image processor."""

import json
from pathlib import Path
from typing import Any

from autogaze.models.autogaze import AutoGaze, AutoGazeConfig, AutoGazeImageProcessor
from autogaze.vision_encoders.siglip import SiglipVisionConfig, SiglipVisionModel
from tests.reference.cases import load
from tests.reference.fill import fill

_SIGLIP_PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 1 / 255,
}

_SIGLIP_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def write_gaze_model(folder: str | Path) -> None:
    """Write the reference cases' small gaze model."""
    reference = load("gaze")
    model: Any = AutoGaze(AutoGazeConfig(**reference["configs"]["tiny"]))
    fill(model, 3, reference["weight_gains"])
    model.save_pretrained(folder)
    AutoGazeImageProcessor.of_checkpoint(224).save_pretrained(folder)


def write_siglip(folder: str | Path, image_size: int, patch_size: int) -> None:
    """Write a small SigLIP encoder for pictures of ``image_size`` pixels."""
    config = SiglipVisionConfig.from_dict(
        _SIGLIP_SIZES | {"image_size": image_size, "patch_size": patch_size}
    )
    model = SiglipVisionModel(config)
    fill(model, 4)
    model.save_pretrained(folder)
    size = {"size": {"height": image_size, "width": image_size}}
    Path(folder, "preprocessor_config.json").write_text(json.dumps(_SIGLIP_PROCESSOR | size))
