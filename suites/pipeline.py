"""The models on a device, and the steps from frames to reconstruction that workloads are made of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suites.settings import GazeSetting
from suites.workload import Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze.models.autogaze import GazeOutput
    from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

UNTRAINED = "untrained weights: quality figures are meaningless"


@dataclass
class Result:
    """One call: what was seen, what was chosen, and what came of it."""

    video: "Tensor"
    """(batch, chunk, 3, size, size), normalised."""
    gaze: "GazeOutput"
    reconstruction: dict[str, Any] | None = None


class Pipeline:
    """The models on a device, and the steps from frames to reconstruction.

    ``engine`` names how patches are generated, ``dtype`` a torch data type, ``attention`` a backend;
    ``reconstructs`` says whether a reconstructor is loaded too.
    """

    def __init__(
        self, inputs: Inputs, dtype: str, attention: str, engine: str = "auto", *, reconstructs: bool
    ) -> None:
        import torch

        from autogaze.attention import require_backend
        from autogaze.checkpoints import state_hash
        from autogaze.embedded import load_gaze_model, load_reconstructor
        from autogaze.models.autogaze.engines import choose_engine

        self.geometry = inputs.geometry
        self.device, self.dtype = torch.device(inputs.device), getattr(torch, dtype)
        require_backend(attention, self.device, self.dtype)
        torch.manual_seed(inputs.seed)
        self.gaze_model = load_gaze_model(inputs.checkpoint, inputs.revision, attention)
        self.gaze_model.to(self.device, self.dtype)
        self.gaze_model.engine = choose_engine(engine, self.gaze_model.arch, self.device, self.dtype)
        self.details: dict[str, Any] = {
            "gaze.weights": state_hash(self.gaze_model),
            "gaze.engine": self.gaze_model.engine,
            "attention": attention,
        }
        self.task: VideoMAEReconstruction | None = None
        self.notes: list[str] = []
        if reconstructs:
            self.use(load_reconstructor(inputs.task_checkpoint, inputs.task_revision, attention)[0])

    def use(self, task: "VideoMAEReconstruction") -> None:
        """Reconstruct with ``task`` from now on."""
        from autogaze.checkpoints import state_hash

        self.task = task.to(self.device, self.dtype)
        self.details |= {"task.weights": state_hash(task), "task.loss": task.config.loss_type}
        if not task.config.trained and UNTRAINED not in self.notes:
            self.notes.append(UNTRAINED)

    def preprocess(self, clips: list[Any]) -> "Tensor":
        """Bring (frames, height, width, 3) uint8 clips to (clips, frames, 3, size, size), normalised, on the
        device."""
        import numpy as np
        import torch

        from autogaze.video.preprocessing import fit_frames, normalize

        size = self.gaze_model.arch.image_size
        video = np.stack([normalize(fit_frames(clip, size, self.geometry)) for clip in clips])
        return torch.from_numpy(video).to(self.device, self.dtype)

    def gaze(self, video: "Tensor", setting: GazeSetting) -> "GazeOutput":
        """Choose patches of a normalised video."""
        output: GazeOutput = self.gaze_model(
            {"video": video},
            gazing_ratio=setting.gazing_ratio,
            task_loss_requirement=setting.task_loss_requirement,
            generate_only=True,
        )
        return output

    def reconstruct(self, video: "Tensor", gaze: "GazeOutput") -> dict[str, Any]:
        """Paint all frames from their gazed patches, and judge them by the reconstructor's own loss."""
        assert self.task is not None
        output: dict[str, Any] = self.task.forward_output({"video_for_task": video}, gaze)
        return output

    def judge(self, result: Result, video: int) -> list[dict[str, float]]:
        """Return for each frame of one video of a call its gazes, and its loss and picture quality where
        there are any."""
        rows: list[dict[str, float]] = [{"gazes": n} for n in result.gaze.gazes_each_frame()[video].tolist()]
        if result.reconstruction is None:
            return rows
        from autogaze.tasks.video_mae_reconstruction.metrics import MOST_PSNR, frame_metrics
        from autogaze.video.preprocessing import unnormalize

        pictures = frame_metrics(
            unnormalize(result.video[video]), unnormalize(result.reconstruction["reconstruction"][video])
        )
        losses = result.reconstruction["reconstruction_loss_each_reconstruction_frame"][video].tolist()
        return [
            {**row, **picture, "psnr": min(picture["psnr"], MOST_PSNR), "loss": loss}
            for row, picture, loss in zip(rows, pictures, losses)
        ]

    def work(self, result: Result, gazed: bool = True) -> dict[str, float]:
        """Return the work of one call, that of the gaze model included where it was ``gazed`` with."""
        from autogaze.models.autogaze.work import gaze_work
        from autogaze.tasks.video_mae_reconstruction.work import reconstruction_work
        from autogaze.work import Work

        gaze, size = result.gaze, result.video.element_size()
        videos, frames = result.video.shape[:2]
        selected = int((~gaze.if_padded_gazing).sum())
        slots = gaze.num_gazing_each_frame.tolist()
        work = gaze_work(self.gaze_model.arch, slots, size) * videos if gazed else Work()
        if result.reconstruction is not None:
            assert self.task is not None
            for gazes in gaze.gazes_each_frame().tolist():
                work += reconstruction_work(self.task.config, gazes, size)
        return {
            "clips": videos,
            "frames": videos * frames,
            "candidate_patches": videos * frames * gaze.num_vision_tokens_each_frame,
            "selected_patches": selected,
            "padded_patches": gaze.gazing_pos.numel() - selected,
            "flops": work.flops,
            "bytes": work.bytes,
        }
