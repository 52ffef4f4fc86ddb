"""Weights of published networks that a reconstructor is put together from.

The released package builds its reconstructor from a ViT-MAE and two feature networks on the hub, three
gigabytes, and then overwrites all of them with its own checkpoint. Here they are awaited: fetched when they
are first needed, and never if a state dict brings them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from autogaze.checkpoints import (
    OLD_WEIGHT_FILE,
    WEIGHT_FILES,
    load_strict,
    read_json,
    read_weights,
    require_fit,
    resolve,
    siglip_vision_weights,
    write_checkpoint,
)
from autogaze.errors import InputError
from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.new_weights import initialize_scales_and_times
from autogaze.tasks.video_mae_reconstruction.video_mae import VideoMAE

_LACKED = ("scale_embed", "time_embed")
"""How parameters end that a published ViT-MAE lacks: they begin as they are."""


_DECODER_LAYERS = ("decoder.decoder_encoder.layer.", "decoder.decoder_layers.")
"""What transformers 5 calls the layers of the decoder in a file, and what everyone else does."""


@dataclass(frozen=True)
class Published:
    """A part of a reconstructor and the checkpoint that its weights come from."""

    part: str
    """Name of a feature loss, or empty for the ViT-MAE itself."""
    source: str
    """Folder or hub id."""
    revision: str | None

    def names(self, mae: VideoMAE) -> list[str]:
        """Return what the part's tensors are called in the state dict of ``mae``."""
        if self.part:
            return [f"{self.part}.{name}" for name in mae.get_submodule(self.part).state_dict()]
        return [*mae.vit.state_dict(prefix="vit."), *mae.decoder.state_dict(prefix="decoder.")]


def published_config(
    source: str | os.PathLike[str], settings: Mapping[str, Any], revision: str | None
) -> VideoMAEConfig:
    """Return the configuration of a published ViT-MAE, ``settings`` in place of its keys; it has one scale,
    the image size, unless it says otherwise."""
    values = read_json(resolve(source, revision, ("config.json",)) / "config.json")
    return VideoMAEConfig.from_dict({"scales": values.get("image_size", 224), **values, **settings})


def await_published(mae: VideoMAE, source: str | os.PathLike[str], revision: str | None = None) -> None:
    """Have a reconstructor begin with the weights of a ViT-MAE, and its feature networks with those that the
    configuration names."""
    initialize_scales_and_times(mae)
    awaited = [Published("", os.fspath(source), revision)]
    for loss in mae.config.losses:
        if loss in FEATURE_BACKBONES:
            asked = mae.config.backbone_settings(loss)
            model = str(asked.get("model", FEATURE_BACKBONES[loss]))
            awaited.append(Published(loss, model, asked.get("revision")))
    mae.awaited = awaited
    hooks: Any = mae  # whose registration torch has not typed
    hooks.register_load_state_dict_pre_hook(_before_loading)
    hooks.register_state_dict_pre_hook(_before_saving)
    for part in (mae.vit.embeddings, *(mae.get_submodule(each.part) for each in awaited[1:])):
        part.register_forward_pre_hook(partial(_before_use, mae))


def fetch_awaited(mae: VideoMAE) -> None:
    """Load the weights that a reconstructor still awaits.

    Raises ``InputError`` for a checkpoint that cannot be found, read, or does not fit.
    """
    while mae.awaited:
        _fetch(mae, mae.awaited[0])


def _fetch(mae: VideoMAE, published: Published) -> None:
    awaited = mae.awaited
    mae.awaited = [each for each in awaited if each != published]
    try:
        _load(mae, published)
    except InputError:
        mae.awaited = awaited
        raise


def _before_loading(mae: VideoMAE, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
    """Await no more what a state dict brings; fetch first what it brings in part."""
    for each in list(mae.awaited):
        there = [prefix + name in state for name in each.names(mae)]
        if all(there):
            mae.awaited = [other for other in mae.awaited if other != each]
        elif any(there):
            _fetch(mae, each)


def _before_use(mae: VideoMAE, *call: Any) -> None:
    fetch_awaited(mae)


def _before_saving(mae: VideoMAE, prefix: str, keep_vars: bool) -> None:
    fetch_awaited(mae)


def _load(mae: VideoMAE, published: Published) -> None:
    state, origin = _state(published)
    if published.part:
        load_strict(mae.get_submodule(published.part), state, origin)
        return
    for loss in FEATURE_BACKBONES:  # a saved reconstructor brings its own
        own = {name: tensor for name, tensor in state.items() if name.startswith(f"{loss}.")}
        awaited = [each for each in mae.awaited if each.part == loss]
        if own and awaited:
            load_strict(
                mae.get_submodule(loss), {n.removeprefix(f"{loss}."): t for n, t in own.items()}, origin
            )
            mae.awaited = [each for each in mae.awaited if each.part != loss]
        state = {name: tensor for name, tensor in state.items() if name not in own}
    names = published.names(mae)
    own_state = dict(mae.named_parameters())
    require_fit(
        origin,
        type(mae).__name__,
        missing=[name for name in names if name not in state and not name.endswith(_LACKED)],
        unexpected=[name for name in state if name not in names],
        mismatched=[
            f"{name} {tuple(state[name].shape)} for {tuple(own_state[name].shape)}"
            for name in names
            if name in state and state[name].shape != own_state[name].shape
        ],
    )
    mae.load_state_dict(state, strict=False)


def _state(published: Published) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a published network and what to call them in a refusal."""
    try:
        folder = resolve(published.source, published.revision, WEIGHT_FILES)
        if not any(folder.glob("*.safetensors")):
            folder = resolve(published.source, published.revision, (OLD_WEIGHT_FILE,))
    except InputError as error:
        raise InputError(
            f"the reconstructor begins with published weights, and {error}; or give it all of its weights "
            "with load_state_dict, as from videomae.pt, before it is used"
        ) from error
    state = read_weights(folder, "a published network")
    if not published.part:
        state = {name.replace(*_DECODER_LAYERS): tensor for name, tensor in state.items()}
    return (siglip_vision_weights(state) if published.part == "siglip2" else state), published.source


def write_published(mae: VideoMAE, folder: str | os.PathLike[str]) -> None:
    """Write a reconstructor as a ViT-MAE with an image processor, as the released package reads both."""
    config = mae.config
    names = {"model_type": "vit_mae", "architectures": ["ViTMAEForPreTraining"]}
    processor = {
        "image_processor_type": "VivitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": config.image_size},
        "do_center_crop": True,
        "crop_size": {"height": config.image_size, "width": config.image_size},
        "do_rescale": True,
        "rescale_factor": config.rescale_factor,
        "offset": True,
        "do_normalize": True,
        "image_mean": list(config.image_mean),
        "image_std": list(config.image_std),
    }
    write_checkpoint(folder, config.to_dict() | names, mae, others={"preprocessor_config.json": processor})
