"""Checkpoints as transformers writes them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def with_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put ``vision_model.`` before names that lack it: transformers 5 leaves it out."""
    return {f"vision_model.{name.removeprefix('vision_model.')}": tensor for name, tensor in state.items()}
