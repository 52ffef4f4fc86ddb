"""Next-token prediction: learn recorded gazes, and the reconstruction loss after each of them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autogaze.algorithms.losses import ntp_loss, task_loss_prediction_loss
from autogaze.algorithms.objective import Moment, Objective, Prepared, Result
from autogaze.algorithms.scores import gaze_scores
from autogaze.datasets.batches import to_inputs
from autogaze.models.autogaze import AutoGaze
from autogaze.models.autogaze.generation import StepPositions
from autogaze.patches import PatchGrid


class NextTokenPrediction(Objective):
    """The likelihood of recorded gazes, teacher-forced, and the squared error of the loss prediction.

    ``step_positions`` are the positions that groups of gazes are learnt at: true ones (``sequential``), as in
    the released training, or those of the loop that the model is to choose in (``released``).
    """

    def __init__(
        self,
        gaze: AutoGaze,
        optimize_task_loss_prediction: bool,
        step_positions: StepPositions = "sequential",
    ) -> None:
        super().__init__()
        self.gaze = gaze
        self.optimize_task_loss_prediction = optimize_task_loss_prediction
        self.step_positions = step_positions

    @property
    def grid(self) -> PatchGrid:
        return self.gaze.arch.grid

    def prepare(self, batch: Mapping[str, Any], moment: Moment) -> Prepared:
        return Prepared(batch, {"gazes": _gazes(batch), "videos": len(batch["frames"])})

    def forward(self, prepared: Prepared, totals: Mapping[str, float]) -> Result:
        likelihood, prediction = self._losses(prepared.batch, totals["gazes"] / totals["videos"])
        likelihood, prediction = (part.sum() / totals["videos"] for part in (likelihood, prediction))
        loss = likelihood + prediction if self.optimize_task_loss_prediction else likelihood
        return Result(
            loss, {"ntp_loss": likelihood.detach(), "task_loss_prediction_loss": prediction.detach()}
        )

    def _losses(self, batch: Mapping[str, Any], mean_length: float) -> tuple[Tensor, Tensor]:
        info = batch["gt_gazing_info"]
        video = to_inputs(dict(batch), batch["frames"].device)["video"]
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


def _gazes(batch: Mapping[str, Any]) -> float:
    return float((~batch["gt_gazing_info"]["if_padded_gazing"]).sum())
