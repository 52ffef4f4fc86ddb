"""Next-token prediction: learn recorded gazes, and the reconstruction loss after each of them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autogaze.algorithms.losses import ntp_loss, task_loss_prediction_loss
from autogaze.algorithms.objective import Moment, Objective, Prepared, Result
from autogaze.datasets.batches import to_inputs
from autogaze.models.autogaze import AutoGaze
from autogaze.patches import PatchGrid


class NextTokenPrediction(Objective):
    """The likelihood of recorded gazes, teacher-forced, and the squared error of the loss prediction."""

    def __init__(self, gaze: AutoGaze, optimize_task_loss_prediction: bool) -> None:
        super().__init__()
        self.gaze = gaze
        self.optimize_task_loss_prediction = optimize_task_loss_prediction

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
        output = self.gaze(to_inputs(dict(batch), batch["frames"].device), gazing_info=info)
        padded = info["if_padded_gazing"]
        return (
            ntp_loss(output.log_action_probs, padded, mean_length),
            task_loss_prediction_loss(output.task_loss_prediction, info["task_losses"], ~padded, mean_length),
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
