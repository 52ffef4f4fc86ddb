"""Next-token prediction: learn recorded gazes, and the reconstruction loss after each of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid
from autogaze.models.autogaze import AutoGaze
from autogaze.models.autogaze.generation import StepPositions
from autogaze.training.algorithms.losses import ntp_loss, task_loss_prediction_loss
from autogaze.training.algorithms.objective import Moment, Objective, Prepared, Result, videos
from autogaze.training.algorithms.scores import gaze_scores
from autogaze.training.seeds import generator


class NextTokenPrediction(Objective):
    """The likelihood of recorded gazes, teacher-forced, and the squared error of the loss prediction.

    ``step_positions`` are the positions that groups of gazes are learnt at: true ones (``sequential``), as in
    the released training, or those of the loop that the model is to choose in (``released``). With ``mirror``
    half of the videos, drawn anew at every step, are learnt as seen in a mirror.
    """

    def __init__(
        self,
        gaze: AutoGaze,
        optimize_task_loss_prediction: bool,
        step_positions: StepPositions = "sequential",
        *,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.gaze = gaze
        self.optimize_task_loss_prediction = optimize_task_loss_prediction
        self.step_positions = step_positions
        self.mirror = mirror

    @property
    def grid(self) -> PatchGrid:
        return self.gaze.arch.grid

    def prepare(self, batch: Mapping[str, Any], moment: Moment) -> Prepared:
        videos = len(batch["frames"])
        if self.mirror:
            places = range(moment.first, moment.first + videos)
            draws = [generator(moment.seed, "mirror", moment.step, place) for place in places]
            drawn = torch.stack([torch.rand((), generator=draw) < 0.5 for draw in draws])
            batch = mirrored(batch, drawn.to(batch["frames"].device), self.grid)
        return Prepared(batch, {"gazes": _gazes(batch), "videos": videos})

    def forward(self, prepared: Prepared, totals: Mapping[str, float]) -> Result:
        likelihood, prediction = self._losses(prepared.batch, totals["gazes"] / totals["videos"])
        likelihood, prediction = (part.sum() / totals["videos"] for part in (likelihood, prediction))
        loss = likelihood + prediction if self.optimize_task_loss_prediction else likelihood
        return Result(
            loss, {"ntp_loss": likelihood.detach(), "task_loss_prediction_loss": prediction.detach()}
        )

    def _losses(self, batch: Mapping[str, Any], mean_length: float) -> tuple[Tensor, Tensor]:
        info = batch["gt_gazing_info"]
        video = videos(batch)
        padded, slots = info["if_padded_gazing"], info["num_gazing_each_frame"].tolist()
        vision = self.gaze.gazing_model.see(video)
        scores = gaze_scores(self.gaze, vision, info["gazing_pos"], padded, slots, self.step_positions)
        return (
            ntp_loss(scores.log_probability, padded, mean_length),
            task_loss_prediction_loss(scores.task_loss_prediction, info["task_losses"], ~padded, mean_length),
        )

    def validate(self, batch: Mapping[str, Any], moment: Moment) -> dict[str, tuple[float, float]]:
        likelihood, prediction = self._losses(batch, 1.0)
        gazes = _gazes(batch)
        return {
            "ntp_loss": (float(likelihood.sum()), gazes),
            "task_loss_prediction_loss": (float(prediction.sum()), gazes),
        }

    def trained(self) -> dict[str, Any]:
        return {"gaze": self.gaze}


def mirrored(batch: Mapping[str, Any], which: Tensor, grid: PatchGrid) -> dict[str, Any]:
    """Return a batch with labels, left and right exchanged in the videos where ``which``, (B,) bool."""
    info, frames = batch["gt_gazing_info"], batch["frames"]  # (B, T, H, W, 3)
    slots = info["num_gazing_each_frame"]
    patches = torch.tensor([*grid.mirrored, grid.patches_per_frame], device=frames.device)
    first = grid.patches_per_frame * torch.arange(len(slots)).repeat_interleave(slots.cpu()).to(frames.device)
    seen_in_mirror = patches[info["gazing_pos"] - first] + first
    positions = torch.where(which[:, None], seen_in_mirror, info["gazing_pos"])
    return {
        **batch,
        "frames": torch.where(which[:, None, None, None, None], frames.flip(3), frames),
        "gt_gazing_info": {**info, "gazing_pos": positions},
    }


def _gazes(batch: Mapping[str, Any]) -> float:
    return float((~batch["gt_gazing_info"]["if_padded_gazing"]).sum())
