"""The embedded encoder: SigLIP of base size, seeded, untrained. Its cost is right, its features are noise."""

from typing import Any

import torch

from autogaze.checkpoints import load_strict
from autogaze.initialization.reconstructor import random_values
from autogaze.vision_encoders.siglip import SiglipVisionConfig, SiglipVisionModel


def seeded_encoder(attn_implementation: str = "sdpa", **settings: Any) -> SiglipVisionModel:
    """Return the encoder with the same weights on every machine, ready for evaluation.

    ``settings`` replaces keys of the configuration.
    """
    # Every weight is overwritten, so nothing is spent on initialising them.
    with torch.device("meta"):
        model = SiglipVisionModel(SiglipVisionConfig.from_dict(settings), attn_implementation)
    model.to_empty(device="cpu")
    state = {name: random_values(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
    load_strict(model, state, "the seeded state")
    return model.eval()
