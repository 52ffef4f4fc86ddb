"""Gain distillation: teach the policy, where it goes itself, what every patch would gain.

The likelihood of recorded gazes makes a policy take the patch that is most often the best, and a policy that
always takes the likeliest then returns to the same few patches, since each of the many small ones is seldom
the very best. Here the target at every slot is a distribution over all patches in proportion to a power of
what they are estimated to gain. With power 1 the likeliest patch is the one with the greatest expected gain.
Targets are told along the policy's own gazes, so what it does wrong is what it learns from.

Fastest possible form: rolling out costs a pass over what the policy sees, a frame reconstructed for each
scale and one for every twenty gazes, and learning two passes: on a core of a CPU about 1.0 s, most of it for
the frames, and 0.3 s for a clip of 8 frames. So rollouts are worth using again, ``num_iterations`` times:
targets do not age, only the gazes that they are of do. Nothing is written down: clips are new ones in every
generation, as long as they last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid
from autogaze.labelling.patch_gains import estimated_gains
from autogaze.models.autogaze import AutoGaze
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.training.algorithms.losses import task_loss_prediction_loss
from autogaze.training.algorithms.objective import Moment, Objective, Prepared, Result, videos
from autogaze.training.algorithms.reconstruction import policy_quality
from autogaze.training.algorithms.scores import ROLLOUT_POSITIONS, gaze_predictions
from autogaze.training.schedules import exponential
from autogaze.training.seeds import seed_torch

_LOOK_EVERY = 20
"""Gazes after which a frame is reconstructed anew. Groups of 5, 10 and 20 taken on fixed rates end at about
the same loss (0.336, 0.334 and 0.339 at ratio 0.10), so estimates hold for so long."""


@dataclass(frozen=True)
class DistillationSettings:
    """Knobs of the algorithm."""

    gain_rates: tuple[float, ...]
    """Which share of its score a patch of each scale gains: the rates of
    :class:`autogaze.labelling.gain_estimator.GainEstimator`."""
    sharpness: float
    """Power of the estimated gains that targets are in proportion to."""
    optimize_task_loss_prediction: bool
    temp_start: float
    """Sampling temperature at the first step; it goes to ``temp_end`` exponentially."""
    temp_end: float
    validation_ratios: tuple[float, ...]


class GainDistillation(Objective):
    """The divergence of the policy from estimated gains, and the error of the predicted losses."""

    def __init__(self, gaze: AutoGaze, task: VideoMAEReconstruction, settings: DistillationSettings) -> None:
        super().__init__()
        self.gaze = gaze
        self.task = task.requires_grad_(False)
        self.settings = settings

    @property
    def grid(self) -> PatchGrid:
        return self.gaze.arch.grid

    def prepare(self, batch: Mapping[str, Any], moment: Moment) -> Prepared:
        video, settings = videos(batch), self.settings
        # The sampler draws for all videos of the micro-batch from one stream.
        seed_torch(moment.seed, "rollout", moment.step, moment.first)
        temperature = exponential(settings.temp_start, settings.temp_end, moment.steps)(moment.step)
        gaze = self.gaze({"video": video}, temperature=temperature, step_positions=ROLLOUT_POSITIONS)
        gains = estimated_gains(self.task, video, gaze, settings.gain_rates, _LOOK_EVERY)
        choices = {"gaze": gaze, "estimated": gains.estimated.clone(), "losses": gains.losses.clone()}
        return Prepared(batch, {"videos": len(video), "gazes": gaze.gazing_pos.numel()}, choices)

    def forward(self, prepared: Prepared, totals: Mapping[str, float]) -> Result:
        gaze, losses = prepared.choices["gaze"], prepared.choices["losses"]
        vision = self.gaze.gazing_model.see(videos(prepared.batch))
        padded, slots = gaze.if_padded_gazing, gaze.num_gazing_each_frame.tolist()
        said = gaze_predictions(self.gaze, vision, gaze.gazing_pos, padded, slots, ROLLOUT_POSITIONS)
        mean_length = totals["gazes"] / totals["videos"]
        divergence = gain_divergence(said.logits, prepared.choices["estimated"], self.settings.sharpness)
        divergence = divergence.sum() / totals["gazes"]
        prediction = task_loss_prediction_loss(said.task_loss, losses, ~padded, mean_length)
        prediction = prediction.sum() / totals["videos"]
        return Result(
            divergence + prediction if self.settings.optimize_task_loss_prediction else divergence,
            {
                "distillation_loss": divergence.detach(),
                "task_loss_prediction_loss": prediction.detach(),
                "final_loss": _at_ends(losses, slots).mean(dim=1).sum() / totals["videos"],
                "gazes": losses.new_tensor(gaze.gazing_pos.numel() / totals["videos"]),
            },
        )

    def validate(self, batch: Mapping[str, Any], moment: Moment) -> dict[str, tuple[float, float]]:
        return policy_quality(self.gaze, self.task, videos(batch), self.settings.validation_ratios)

    def trained(self) -> dict[str, Any]:
        return {"gaze": self.gaze}


def gain_divergence(logits: Tensor, gains: Tensor, sharpness: float) -> Tensor:
    """Return (B, N): how far the policy is from one in proportion to ``gains ** sharpness``, in nats.

    ``logits`` are (B, N, vocabulary), -inf for what is forbidden, and ``gains`` (B, N, patches). The result
    is the Kullback-Leibler divergence of the softmax of the logits from the target; it is 0 where no patch
    that is allowed gains anything.
    """
    patches = gains.shape[-1]
    log_probability = logits.float().log_softmax(dim=-1)[..., :patches]
    allowed = log_probability > float("-inf")
    weights = gains.masked_fill(~allowed, 0)
    weights = (weights / weights.amax(dim=-1, keepdim=True).clamp(min=_NOTHING)) ** sharpness
    target = weights / weights.sum(dim=-1, keepdim=True).clamp(min=_NOTHING)
    return torch.xlogy(target, target).sum(dim=-1) - (target * log_probability.masked_fill(~allowed, 0)).sum(
        dim=-1
    )


_NOTHING = 1e-12
"""A gain that is none."""


def _at_ends(losses: Tensor, slots: Sequence[int]) -> Tensor:
    """Return (B, T): of (B, N) losses those after the last slot of each frame."""
    return losses[:, torch.tensor(slots).cumsum(dim=0).to(losses.device) - 1]
