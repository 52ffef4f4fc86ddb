"""The reconstruction task: how well can a video be painted from its gazed patches?"""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autogaze.checkpoints import load_strict, read_json, read_state, resolve, write_checkpoint
from autogaze.errors import InputError
from autogaze.gaze.packed import PackedGaze
from autogaze.gaze.patch_embedding import read_gaze
from autogaze.stages import stage
from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES, VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.losses import reconstruction_loss, target_features
from autogaze.tasks.video_mae_reconstruction.modeling_video_mae import VideoMAE
from autogaze.tasks.video_mae_reconstruction.released import read_released_config

RELEASED_FILES = ("config.yaml", "videomae.pt")
OWN_FILES = ("config.json", "model.safetensors")


class VideoMAEReconstruction(nn.Module):
    """VideoMAE with its losses, called with what a gaze model returned.

    ``attn_implementation`` names an attention backend (:mod:`autogaze.attention`).
    """

    def __init__(self, config: VideoMAEConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.mae = VideoMAE(config, attn_implementation)

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
            image_mean=list(self.config.image_mean),
            image_std=list(self.config.image_std),
        )

    @property
    def scales(self) -> list[int]:
        """Side lengths of the scales in pixels, ascending."""
        return list(self.config.grid.scales)

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
        names frames, in the order wanted; all of them by default. ``targets`` is what :meth:`target_features`
        gave for the same frames, so that several gazes of a clip share it.

        Returns ``reconstruction`` (B, F, 3, H, W), ``reconstruction_loss`` (B,) the mean over frames,
        ``reconstruction_loss_each_reconstruction_frame`` (B, F), ``frame_idx_to_reconstruct`` (F,),
        ``image_mean``, ``image_std``, ``rescale_factor`` and ``scales``.

        Raises ``InputError`` for shapes, frames or positions that do not fit the model or each other.
        """
        video = self._video(inputs)
        gaze = read_gaze(gaze_outputs, video, self.config.grid, "reconstructor")
        frames = _frame_indices(frame_idx_to_reconstruct, video.shape[1])
        reconstruction = self.mae(video, gaze, frames)
        with stage("reconstruct.loss"):
            original = _frames_of(video, frames)
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

    def target_features(
        self, inputs: Mapping[str, Any], frame_idx_to_reconstruct: Tensor | Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        """Return the original frames' features for :meth:`forward_output`; empty where no loss needs any."""
        video = self._video(inputs)
        return target_features(
            self.mae, _frames_of(video, _frame_indices(frame_idx_to_reconstruct, video.shape[1]))
        )

    def _video(self, inputs: Mapping[str, Any]) -> Tensor:
        video: Tensor = inputs["video_for_task"]
        config = self.config
        needed = (config.num_channels, config.image_size, config.image_size)
        if (
            video.dim() != 5
            or tuple(video.shape[2:]) != needed
            or 0 in video.shape
            or not video.is_floating_point()
        ):
            raise InputError(
                f"video_for_task of shape {tuple(video.shape)} and type {video.dtype} must be a non-empty, "
                f"normalised float video of shape (batch, frames, {', '.join(map(str, needed))})"
            )
        if config.time_embed and video.shape[1] > config.max_num_frames:
            raise InputError(
                f"a clip of {video.shape[1]} frames is longer than the {config.max_num_frames} the "
                "reconstructor has time embeddings for; cut it into shorter clips"
            )
        return video

    @classmethod
    def from_checkpoint(
        cls,
        source: str | os.PathLike[str],
        revision: str | None = None,
        attn_implementation: str = "sdpa",
        loss_type: str | None = None,
    ) -> "VideoMAEReconstruction":
        """Load a reconstructor, ready for evaluation.

        ``source`` is a folder or hub id with the released files (``config.yaml``, ``videomae.pt``) or those
        of :meth:`save`; :func:`autogaze.embedded.load_reconstructor` has the embedded one. ``loss_type``
        replaces the losses, such as ``"l1"`` to leave the feature networks out.

        Raises ``InputError`` for a source that cannot be found, read, or does not fit to the last key.
        """
        folder = resolve(source, revision, (*RELEASED_FILES, *OWN_FILES))
        config, weights = _read_folder(folder, loss_type)
        task = cls(config, attn_implementation)
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


def _frame_indices(frames: Tensor | Sequence[int] | None, count: int) -> list[int]:
    if frames is None:
        return list(range(count))
    indices = [int(frame) for frame in torch.as_tensor(frames).tolist()]
    if not indices or min(indices) < 0 or max(indices) >= count:
        raise InputError(f"frames to reconstruct {indices} must be one or more of 0 to {count - 1}")
    return indices


def _frames_of(video: Tensor, frames: list[int]) -> Tensor:
    return video if frames == list(range(video.shape[1])) else video[:, frames]
