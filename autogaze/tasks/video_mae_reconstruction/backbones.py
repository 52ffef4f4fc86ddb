"""The frozen networks whose features the feature losses compare: transformers' own, built without any
download.

transformers 5 renamed parameters of both networks. Here their state dicts always carry the names of the
released checkpoint, so that files and weight hashes do not depend on the installed version.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from autogaze.errors import BackendUnavailable, unknown_name

_RELEASED_NAMES = {
    "dinov2_reg": (
        (r"\.attention\.q_proj\.", ".attention.attention.query."),
        (r"\.attention\.k_proj\.", ".attention.attention.key."),
        (r"\.attention\.v_proj\.", ".attention.attention.value."),
        (r"\.attention\.o_proj\.", ".attention.output.dense."),
    ),
    "siglip2": ((r"^(?!vision_model\.)", "vision_model."),),
}
"""What a parameter is called in transformers 5 (patterns) and in the released checkpoint."""


ATTENTION_MODES = ("eager", "sdpa", "flash_attention_2", "flex_attention")
"""Attention that the networks can be asked for: transformers' names, since the networks are its own."""


def build_backbone(loss: str, architecture: Mapping[str, Any], attn_mode: str | None = None) -> nn.Module:
    """Return the frozen network behind a feature loss, untrained.

    ``loss`` is ``dinov2_reg`` or ``siglip2``; ``architecture`` holds keys of the network's transformers
    configuration; ``attn_mode`` is one of ``ATTENTION_MODES``, transformers' choice by default
    (:func:`check_attention_mode`).
    """
    # transformers takes seconds to import, and a reconstructor with the L1 loss alone does not need it.
    from transformers import (
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
        SiglipVisionConfig,
        SiglipVisionModel,
    )

    settings = {**architecture, "attn_implementation": attn_mode}
    network: nn.Module
    if loss == "dinov2_reg":
        network = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**settings))
    else:
        network = SiglipVisionModel(SiglipVisionConfig(**settings))
    _keep_released_names(network, loss)
    return network.requires_grad_(False).eval()


def check_attention_mode(mode: str | None) -> None:
    """Refuse attention that the networks of the feature losses cannot be asked for here."""
    if mode is not None and mode not in ATTENTION_MODES:
        raise unknown_name("attn_mode", mode, ATTENTION_MODES)
    if mode == "flash_attention_2":
        from transformers.utils import is_flash_attn_2_available

        if not is_flash_attn_2_available():
            raise BackendUnavailable(
                "attn_mode flash_attention_2 of the feature losses' networks needs a GPU and the package "
                "flash-attn, which is not there; sdpa computes the same"
            )


def _keep_released_names(network: Any, loss: str) -> None:
    """Make ``network`` write and read its state dict in the released names, whatever its own are."""
    released = {}
    for own in network.state_dict():
        name = own
        for pattern, replacement in _RELEASED_NAMES[loss]:
            name = re.sub(pattern, replacement, name)
        released[own] = name

    def write(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
        _rename(state, prefix, released)

    def read(module: nn.Module, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        _rename(state, prefix, {name: own for own, name in released.items()})

    network.register_state_dict_post_hook(write)
    network.register_load_state_dict_pre_hook(read)


def _rename(state: dict[str, Tensor], prefix: str, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        if old != new and prefix + old in state:
            state[prefix + new] = state.pop(prefix + old)
