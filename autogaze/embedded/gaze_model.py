"""The embedded gaze model: full size, seeded, untrained. It has the right shape and cost, and chooses at
random."""

import zlib

import numpy as np
import torch

from autogaze.checkpoints import load_strict
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig

TRAINED = False

_SEED = 0


def seeded_gaze_model() -> AutoGaze:
    """Return the full-size gaze model with the same weights on every machine, ready for evaluation."""
    model = AutoGaze(AutoGazeConfig())
    state = {name: _initial(name, tensor) for name, tensor in model.state_dict().items()}
    load_strict(model, state, "the seeded state")
    model.eval()
    return model


def _initial(name: str, like: torch.Tensor) -> torch.Tensor:
    """Gains of norms at one, biases at zero, the rest of unit variance per input; each tensor has its own
    random stream."""
    if like.dim() == 1:
        return torch.ones_like(like) if "norm" in name and name.endswith("weight") else torch.zeros_like(like)
    stream = np.random.RandomState((zlib.crc32(name.encode()) ^ _SEED) & 0xFFFFFFFF)
    values = torch.from_numpy(stream.standard_normal(tuple(like.shape)).astype(np.float32))
    is_table = "embed" in name
    return values if is_table else values / float(np.sqrt(like[0].numel()))
