"""ViT-MAE under the released name: the reconstructor with the call, the loader and the configurations of the
released package and of transformers."""

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from autogaze.attention.naming import backend_name
from autogaze.errors import InputError, unknown_name
from autogaze.gaze.output import KeyedOutput
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import read_gaze
from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.inputs import check_video, frame_indices, frames_of
from autogaze.tasks.video_mae_reconstruction.losses import reconstruction_loss, target_features
from autogaze.tasks.video_mae_reconstruction.new_weights import initialize_as_released
from autogaze.tasks.video_mae_reconstruction.published import (
    await_published,
    fetch_awaited,
    published_config,
    write_published,
)
from autogaze.tasks.video_mae_reconstruction.released import config_of
from autogaze.tasks.video_mae_reconstruction.video_mae import VideoMAE


@dataclass(frozen=True, eq=False)
class ViTMAEForPreTrainingOutput(KeyedOutput):
    """What the released call of :class:`VideoMAE` returns, readable by key and by attribute."""

    loss_each_reconstruction_frame: Tensor
    """(B, F)"""
    loss_mean: Tensor
    """(B,): the mean over frames."""
    reconstruction: Tensor
    """(B, F, C, H, W)"""
    logits: Tensor
    """(B, F, finest patches, values of a patch): the reconstruction, not yet put together."""


class ViTMAEForPreTraining(VideoMAE):
    """A reconstructor from a configuration of ours, or of transformers, and then with new weights.

    The latter is a ``ViTMAEConfig`` with the released package's keys set on it, such as ``scales``; its
    ``_attn_implementation`` counts unless ``attn_implementation`` is given.
    """

    def __init__(
        self, config: Any, attn_implementation: str | None = None, attn_mode: str | None = None
    ) -> None:
        chosen = attn_implementation or getattr(config, "_attn_implementation_internal", None)
        super().__init__(config_of(config), backend_name(chosen or "sdpa"), attn_mode)
        if not isinstance(config, VideoMAEConfig):
            initialize_as_released(self)

    def forward(
        self,
        pixel_values: Tensor,
        gazing_info: Mapping[str, Any] | PackedGaze,
        frame_idx_to_reconstruct: Tensor | Sequence[int] | None = None,
        noise: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        interpolate_pos_encoding: bool = True,
        **unknown: Any,
    ) -> ViTMAEForPreTrainingOutput | tuple[Tensor, ...]:
        """Reconstruct frames of a normalised (B, T, C, H, W) video and compare them with it: the released
        call.

        ``gazing_info`` and ``frame_idx_to_reconstruct`` are as in
        :meth:`VideoMAEReconstruction.forward_output`. Position tables are always resized to the scales, and
        nothing is drawn, so ``interpolate_pos_encoding`` and ``noise`` change nothing.

        Raises ``InputError`` for what does not fit the model, for hidden states and attention weights, which
        are not kept, and for arguments that there are not.
        """
        for name in unknown:
            raise unknown_name("argument of ViTMAEForPreTraining", name, _ARGUMENTS)
        if output_attentions or output_hidden_states:
            raise InputError(
                "output_attentions or output_hidden_states is true, and the reconstructor keeps neither; "
                "leave them out, or put forward hooks on vit.encoder.layer"
            )
        check_video(pixel_values, self.config, "pixel_values")
        gaze = read_gaze(gazing_info, pixel_values, self.config.grid, "reconstructor")
        frames = frame_indices(frame_idx_to_reconstruct, pixel_values.shape[1])
        reconstruction, original = (
            self.reconstruct(pixel_values, gaze, frames),
            frames_of(pixel_values, frames),
        )
        losses = reconstruction_loss(self, reconstruction, original, target_features(self, original))
        logits = self.patchify(reconstruction)
        if return_dict is False:
            return losses, losses.mean(dim=1), logits, reconstruction
        return ViTMAEForPreTrainingOutput(losses, losses.mean(dim=1), reconstruction, logits)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        revision: str | None = None,
        attn_implementation: str = "sdpa",
        **settings: Any,
    ) -> Self:
        """Load a ViT-MAE that transformers, the released package or :meth:`save_pretrained` wrote.

        ``source`` is a folder or a hub id; ``settings`` replaces keys of the configuration. Embeddings of
        scale and time that the checkpoint lacks begin small and random. Networks of feature losses come from
        the checkpoint, or else from where the configuration says.

        Raises ``InputError`` for a source that cannot be found, read, or does not fit.
        """
        config = published_config(source, settings, revision)
        model = cls(config, attn_implementation)
        await_published(model, source, revision)
        fetch_awaited(model)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``, which
        :meth:`from_pretrained` and the released package read."""
        write_published(self, folder)


_ARGUMENTS = tuple(
    name
    for name in inspect.signature(ViTMAEForPreTraining.forward).parameters
    if name not in ("self", "unknown")
)
