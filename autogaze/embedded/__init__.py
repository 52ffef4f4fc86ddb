"""Embedded clip and models, so that everything runs without a download; ``MODEL_CARD.md`` tells
how the project trained the models."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autogaze.models.autogaze import AutoGaze
    from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
    from autogaze.vision_encoders.siglip import SiglipVisionModel


GAZE_FOLDER = Path(__file__).with_name("weights") / "gaze"
"""Checkpoint of the embedded gaze model, in half precision."""

RECONSTRUCTOR_FOLDER = Path(__file__).with_name("weights") / "reconstructor"
"""Checkpoint of the embedded reconstructor, small, trained on painted clips, in half precision."""


def clip_path() -> Path:
    """Return the file of the project's own clip: 64 frames of 448 x 448 pixels, 25 a second.

    :mod:`autogaze.embedded.street_scene` makes it.
    """
    return Path(__file__).with_name("street.mp4")


def gaze_checkpoint(checkpoint: str | os.PathLike[str] | None, revision: str | None = None) -> Path:
    """Return the folder that holds a gaze model: ``checkpoint`` itself, or what a hub id names, fetched; the
    embedded one if it is None."""
    from autogaze.hub import resolve

    if checkpoint is None:
        return GAZE_FOLDER
    return resolve(checkpoint, revision, ("config.json", "model.safetensors", "preprocessor_config.json"))


def load_gaze_model(
    checkpoint: str | None = None, revision: str | None = None, attn_implementation: str = "sdpa"
) -> "AutoGaze":
    """Return a gaze model in single precision, ready for evaluation.

    ``checkpoint`` is a folder, a hub id (at ``revision``, or else the pinned one), or None for the embedded
    weights.
    """
    from autogaze.models.autogaze import AutoGaze

    model: AutoGaze = AutoGaze.from_pretrained(gaze_checkpoint(checkpoint, revision)).float()
    model.attn_implementation = attn_implementation
    return model


def load_reconstructor(
    checkpoint: str | None, revision: str | None = None, attn_implementation: str = "sdpa"
) -> "tuple[VideoMAEReconstruction, bool]":
    """Return a reconstructor, ready for evaluation, and whether its weights are trained; ``checkpoint`` as
    above."""
    from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

    source = RECONSTRUCTOR_FOLDER if checkpoint is None else checkpoint
    task = VideoMAEReconstruction.from_checkpoint(source, revision, attn_implementation)
    return task, task.config.trained


def load_encoder(
    checkpoint: str | None,
    revision: str | None = None,
    attn_implementation: str = "sdpa",
    **settings: Any,
) -> "tuple[SiglipVisionModel, bool]":
    """Return a SigLIP encoder, ready for evaluation, and whether its weights are trained; ``checkpoint`` as
    above.

    ``settings`` are keys of its configuration, such as ``scales``.
    """
    from autogaze.embedded.encoder import seeded_encoder
    from autogaze.vision_encoders.siglip import SiglipVisionModel

    if checkpoint is None:
        return seeded_encoder(attn_implementation, **settings), False
    return SiglipVisionModel.from_pretrained(checkpoint, revision, attn_implementation, **settings), True
