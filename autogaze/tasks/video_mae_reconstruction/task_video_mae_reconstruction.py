"""The reconstruction task: how well can a video be painted from its gazed patches?"""

import inspect
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autogaze.checkpoints import load_strict, read_json, read_state, resolve, write_checkpoint
from autogaze.errors import InputError, unknown_name
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import read_gaze
from autogaze.stages import stage
from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.inputs import check_video, frame_indices, frames_of
from autogaze.tasks.video_mae_reconstruction.losses import reconstruction_loss, target_features
from autogaze.tasks.video_mae_reconstruction.modeling_video_mae import ViTMAEForPreTraining
from autogaze.tasks.video_mae_reconstruction.published import await_published
from autogaze.tasks.video_mae_reconstruction.released import (
    check_settings,
    read_released_config,
    released_config,
)
from autogaze.tasks.video_mae_reconstruction.rewards import released_result, with_losses_of_gazes

RELEASED_FILES = ("config.yaml", "videomae.pt")
OWN_FILES = ("config.json", "model.safetensors")


class VideoMAEReconstruction(nn.Module):
    """VideoMAE with its losses, called with what a gaze model returned.

    Built from a configuration, or as the released package does it: from the name of a published ViT-MAE
    (``recon_model``: a hub id or a folder) and ``recon_model_config``, which replaces its keys. Its weights,
    and those of the feature losses' networks, are then fetched when they are first needed, unless
    ``load_state_dict`` brings them. :meth:`from_checkpoint` loads a trained reconstructor.

    ``scales`` are side lengths joined by ``+``. ``recon_sample_rate`` is the share of a clip's frames that is
    drawn for reconstruction where none are named; all of them are reconstructed by default. ``attn_mode`` is
    the attention of the feature losses' networks, in transformers' names. ``attn_implementation`` is that of
    the reconstructor, a backend of :mod:`autogaze.attention`.
    """

    def __init__(
        self,
        recon_model: VideoMAEConfig | str,
        recon_model_config: Mapping[str, Any] | None = None,
        scales: str | int | None = None,
        recon_sample_rate: float | None = None,
        attn_mode: str | None = None,
        *,
        attn_implementation: str = "sdpa",
        **unknown: Any,
    ) -> None:
        super().__init__()
        for name in unknown:
            raise unknown_name("argument of VideoMAEReconstruction", name, _ARGUMENTS)
        if isinstance(recon_model, VideoMAEConfig):
            if recon_model_config is not None or scales is not None:
                raise InputError(
                    f"recon_model_config {recon_model_config!r} and scales {scales!r} go with the name of a "
                    "published model, and a whole configuration is given; change its keys, and name an "
                    "attention backend as attn_implementation"
                )
            self.config = recon_model
        else:
            settings = recon_model_config or {}
            check_settings(settings, "recon_model_config")
            self.config = released_config(recon_model, settings, scales)
        self.recon_sample_rate = recon_sample_rate
        self.mae = ViTMAEForPreTraining(self.config, attn_implementation, attn_mode)
        if not isinstance(recon_model, VideoMAEConfig):
            await_published(self.mae, recon_model, settings.get("revision"))

    @cached_property
    def transform(self) -> Any:
        """The image processor, for ``transform_video_for_pytorch(frames, task.transform)``."""
        from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor

        size = self.config.image_size
        return AutoGazeImageProcessor(
            size={"shortest_edge": size},
            do_center_crop=True,
            crop_size={"height": size, "width": size},
            rescale_factor=self.config.rescale_factor,
            offset=True,
            image_mean=list(self.config.image_mean),
            image_std=list(self.config.image_std),
        )

    @property
    def scales(self) -> list[int]:
        """Side lengths of the scales in pixels, ascending."""
        return list(self.config.grid.scales)

    @property
    def gaze_model_kwargs(self) -> dict[str, Any]:
        """What a gaze model is called with to choose patches for this reconstructor."""
        return {"target_scales": self.scales, "target_patch_size": self.config.patch_size}

    def forward_output(
        self,
        inputs: Mapping[str, Any],
        gaze_outputs: Mapping[str, Any] | PackedGaze,
        frame_idx_to_reconstruct: Tensor | Sequence[int] | None = None,
        targets: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Reconstruct frames of ``inputs["video_for_task"]``, (B, T, 3, H, W), normalised, from its gazed
        patches.

        ``gaze_outputs`` holds ``gazing_pos`` (B, N), ``if_padded_gazing`` (B, N) and
        ``num_gazing_each_frame`` (T,), or is packed (:meth:`GazeOutput.packed`). ``frame_idx_to_reconstruct``
        names frames, in the order wanted; a share of them at random where the task has a
        ``recon_sample_rate``, else all of them. ``targets`` is what :meth:`target_features` gave for the same
        frames, so that several gazes of a clip share it.

        Returns ``reconstruction`` (B, F, 3, H, W), ``reconstruction_loss`` (B,) the mean over frames,
        ``reconstruction_loss_each_reconstruction_frame`` (B, F), ``frame_idx_to_reconstruct`` (F,),
        ``image_mean``, ``image_std``, ``rescale_factor`` and ``scales``.

        Raises ``InputError`` for shapes, frames or positions that do not fit the model or each other.
        """
        video = self._video(inputs)
        gaze = read_gaze(gaze_outputs, video, self.config.grid, "reconstructor")
        if frame_idx_to_reconstruct is None:
            frame_idx_to_reconstruct = self._drawn_frames(video.shape[1])
        frames = frame_indices(frame_idx_to_reconstruct, video.shape[1])
        reconstruction = self.mae.reconstruct(video, gaze, frames)
        with stage("reconstruct.loss"):
            original = frames_of(video, frames)
            if targets is None:
                targets = target_features(self.mae, original)
            loss = reconstruction_loss(self.mae, reconstruction, original, targets)
        return {
            "reconstruction": reconstruction,
            "reconstruction_loss": loss.mean(dim=1),
            "reconstruction_loss_each_reconstruction_frame": loss,
            "frame_idx_to_reconstruct": torch.tensor(frames, device=video.device),
            "image_mean": list(self.config.image_mean),
            "image_std": list(self.config.image_std),
            "rescale_factor": self.config.rescale_factor,
            "scales": self.scales,
        }

    def forward(self, inputs: Mapping[str, Any], gaze_outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return outputs, loss, reward and metrics as the released task does
        (:mod:`autogaze.tasks.video_mae_reconstruction.rewards`)."""
        outputs = with_losses_of_gazes(self.forward_output(inputs, gaze_outputs), gaze_outputs)
        return released_result(outputs, gaze_outputs)

    def target_features(
        self, inputs: Mapping[str, Any], frame_idx_to_reconstruct: Tensor | Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Return the original frames' features for :meth:`forward_output`; empty where no loss needs any."""
        video = self._video(inputs)
        return target_features(
            self.mae, frames_of(video, frame_indices(frame_idx_to_reconstruct, video.shape[1]))
        )

    def _video(self, inputs: Mapping[str, Any]) -> Tensor:
        video: Tensor = inputs["video_for_task"]
        check_video(video, self.config, "video_for_task")
        return video

    def _drawn_frames(self, count: int) -> Tensor | None:
        """Return the frames that are reconstructed where none are named: a random share, or all."""
        if self.recon_sample_rate is None:
            return None
        return torch.randperm(count)[: max(1, int(count * self.recon_sample_rate))]

    @classmethod
    def from_checkpoint(
        cls,
        source: str | os.PathLike[str],
        revision: str | None = None,
        attn_implementation: str = "sdpa",
        loss_type: str | None = None,
        attn_mode: str | None = None,
    ) -> "VideoMAEReconstruction":
        """Load a reconstructor, ready for evaluation.

        ``source`` is a folder or hub id with the released files (``config.yaml``, ``videomae.pt``) or those
        of :meth:`save`; :func:`autogaze.embedded.load_reconstructor` has the embedded one. ``loss_type``
        replaces the losses, such as ``"l1"`` to leave the feature networks out.

        Raises ``InputError`` for a source that cannot be found, read, or does not fit to the last key.
        """
        folder = resolve(source, revision, (*RELEASED_FILES, *OWN_FILES))
        config, weights = _read_folder(folder, loss_type)
        task = cls(config, attn_mode=attn_mode, attn_implementation=attn_implementation)
        unused = tuple(f"mae.{loss}." for loss in FEATURE_BACKBONES if loss not in config.losses)
        state = {name: tensor for name, tensor in read_state(weights).items() if not name.startswith(unused)}
        load_strict(task, state, str(weights))
        return task.eval()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors``, which :meth:`from_checkpoint` reads."""
        write_checkpoint(folder, self.config.to_dict(), self)


def _read_folder(folder: Path, loss_type: str | None) -> tuple[VideoMAEConfig, Path]:
    """Return the configuration in a folder of either layout, and the file of its weights."""
    if all((folder / name).is_file() for name in RELEASED_FILES):
        config, weights = read_released_config(folder / RELEASED_FILES[0]), folder / RELEASED_FILES[1]
    elif all((folder / name).is_file() for name in OWN_FILES):
        config, weights = VideoMAEConfig.from_dict(read_json(folder / OWN_FILES[0])), folder / OWN_FILES[1]
    else:
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise InputError(
            f"checkpoint folder {folder} holds {found}; a reconstructor is {' and '.join(RELEASED_FILES)} "
            f"or {' and '.join(OWN_FILES)}"
        )
    return (config if loss_type is None else config.with_losses(loss_type)), weights


_ARGUMENTS = tuple(
    name
    for name in inspect.signature(VideoMAEReconstruction.__init__).parameters
    if name not in ("self", "unknown")
)
