"""The reference cases, and models and clips made from their seeds."""

import functools
import json
from pathlib import Path
from typing import Any

import torch

from autogaze.models.autogaze import AutoGaze, AutoGazeConfig
from tests.reference.fill import clip, fill


@functools.cache
def load(name: str) -> Any:
    """Return the parsed ``<name>.json`` of this folder."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


@functools.lru_cache(maxsize=4)
def gaze_model(config: str, weight_seed: int, dtype: torch.dtype = torch.float32) -> AutoGaze:
    """Return the gaze model of a reference case, in evaluation mode."""
    reference = load("gaze")
    model = AutoGaze(AutoGazeConfig(**reference["configs"][config]))
    return fill(model, weight_seed, reference["weight_gains"]).to(dtype).eval()


def gaze_case(name: str) -> dict[str, Any]:
    """Return one case of ``gaze.json``."""
    return next(case for case in load("gaze")["cases"] if case["name"] == name)


def gaze_video(case: dict[str, Any]) -> torch.Tensor:
    """Return the case's clip, (batch, frames, 3, height, height)."""
    return clip(case["clip_seed"], case["batch"], case["frames"], case["height"])
