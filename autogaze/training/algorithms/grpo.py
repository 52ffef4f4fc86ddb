"""Group-relative policy optimisation: try several gazes of a video, and do more of what reconstructs better.

The policy that is differentiated is the one that sampled: probabilities at the sampling temperature, without
EOS and the frame's earlier gazes, from hidden states at the positions that generation feeds its steps at.
The gradient of anything else, such as the plain softmax at temperature 1, would be that of a policy which
nobody followed, and with the temperature far from 1 at both ends of its schedule a poor stand-in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid
from autogaze.models.autogaze import AutoGaze, GazeOutput
from autogaze.models.autogaze.scoring import Scores
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.training.algorithms.losses import advantages, grpo_loss, task_loss_prediction_loss
from autogaze.training.algorithms.objective import Moment, Objective, Prepared, Result, videos
from autogaze.training.algorithms.reconstruction import drawn_frames, policy_quality
from autogaze.training.algorithms.scores import ROLLOUT_POSITIONS, gaze_scores
from autogaze.training.schedules import exponential
from autogaze.training.seeds import seed_torch


@dataclass(frozen=True)
class GRPOSettings:
    """Knobs of the algorithm."""

    group_size: int
    """Rollouts of each video."""
    discount_factor: float
    """What a reward loses with each gaze that lies between."""
    optimize_task_loss_prediction: bool
    temp_start: float
    """Sampling temperature at the first step; it goes to ``temp_end`` exponentially."""
    temp_end: float
    recon_sample_rate: float
    """Share of the frames that is reconstructed for a reward."""
    validation_ratios: tuple[float, ...]


class GRPO(Objective):
    """The advantage-weighted likelihood of sampled gazes, and the error of the predicted final losses.

    With ``train_task`` the reconstructor learns along, on the rollouts' patches.
    """

    def __init__(
        self, gaze: AutoGaze, task: VideoMAEReconstruction, settings: GRPOSettings, *, train_task: bool
    ) -> None:
        super().__init__()
        self.gaze = gaze
        self.task = task.requires_grad_(train_task)
        self.settings = settings
        self.train_task = train_task

    @property
    def grid(self) -> PatchGrid:
        return self.gaze.arch.grid

    def prepare(self, batch: Mapping[str, Any], moment: Moment) -> Prepared:
        video = videos(batch)
        # The sampler draws for all rollouts of the micro-batch from one stream.
        seed_torch(moment.seed, "rollout", moment.step, moment.first)
        temperature = exponential(self.settings.temp_start, self.settings.temp_end, moment.steps)(moment.step)
        gaze = self.gaze(
            {"video": self._repeated(video)},
            temperature=temperature,
            step_positions=ROLLOUT_POSITIONS,
            generate_only=True,
        )
        frames = drawn_frames(video.shape[1], self.settings.recon_sample_rate, moment)
        losses = self._reconstruct(video, gaze, frames)
        measured, task_losses = _measured(gaze, frames, losses)
        choices = {
            "gaze": gaze,
            "temperature": temperature,
            "frames": frames,
            "reward": -losses,
            "measured": measured,
            "task_losses": task_losses,
        }
        counts = {
            "rollouts": len(losses),
            "measured": float(measured.sum()),
            "gazes": float((~gaze.if_padded_gazing).sum()),
        }
        return Prepared(batch, counts, choices)

    def forward(self, prepared: Prepared, totals: Mapping[str, float]) -> Result:
        choices, rollouts = prepared.choices, totals["rollouts"]
        gaze: GazeOutput = choices["gaze"]
        video = videos(prepared.batch)
        scores = self._score(video, gaze, choices["temperature"])
        credited = advantages(
            choices["reward"],
            _ends(gaze, choices["frames"]),
            gaze.if_padded_gazing,
            self.settings.group_size,
            self.settings.discount_factor,
        )
        policy = grpo_loss(scores.log_probability, credited).sum() / rollouts
        prediction = (
            task_loss_prediction_loss(
                scores.task_loss_prediction,
                choices["task_losses"],
                choices["measured"],
                totals["measured"] / rollouts,
            ).sum()
            / rollouts
        )
        loss = policy + prediction if self.settings.optimize_task_loss_prediction else policy
        if self.train_task:
            loss = loss + self._reconstruct(video, gaze, choices["frames"]).sum() / (
                rollouts * len(choices["frames"])
            )
        real = ~gaze.if_padded_gazing
        return Result(
            loss,
            {
                "reward": choices["reward"].sum() / (rollouts * len(choices["frames"])),
                "grpo_loss": policy.detach(),
                "task_loss_prediction_loss": prediction.detach(),
                "entropy": -(scores.log_probability.detach() * real).sum() / totals["gazes"],
                "gazes": real.sum() / rollouts,
            },
        )

    def _repeated(self, of_videos: Tensor) -> Tensor:
        """Return (group_size * B, ...) of (B, ...): the group is the leading axis."""
        return of_videos.repeat(self.settings.group_size, *[1] * (of_videos.dim() - 1))

    def _reconstruct(self, video: Tensor, gaze: GazeOutput, frames: Sequence[int]) -> Tensor:
        """Return (rollouts, len(frames)) reconstruction losses of (B, T, 3, H, W) videos; networks that
        compare features see each original once."""
        originals = self.task.target_features({"video_for_task": video}, frames)
        targets = {loss: self._repeated(features) for loss, features in originals.items()}
        output = self.task.forward_output({"video_for_task": self._repeated(video)}, gaze, frames, targets)
        losses: Tensor = output["reconstruction_loss_each_reconstruction_frame"]
        return losses

    def _score(self, video: Tensor, gaze: GazeOutput, temperature: float) -> Scores:
        """Score the rollouts of (B, T, 3, H, W) videos, with gradients; the vision trunk sees each video
        once."""
        return gaze_scores(
            self.gaze,
            self._repeated(self.gaze.gazing_model.see(video)),
            gaze.gazing_pos,
            gaze.if_padded_gazing,
            gaze.num_gazing_each_frame.tolist(),
            ROLLOUT_POSITIONS,
            temperature,
        )

    def validate(self, batch: Mapping[str, Any], moment: Moment) -> dict[str, tuple[float, float]]:
        return policy_quality(self.gaze, self.task, videos(batch), self.settings.validation_ratios)

    def trained(self) -> dict[str, Any]:
        return {"gaze": self.gaze} | ({"task": self.task} if self.train_task else {})


def _ends(gaze: GazeOutput, frames: Sequence[int]) -> list[int]:
    """Return for each of ``frames`` the number of slots up to its end."""
    ends = gaze.num_gazing_each_frame.cumsum(dim=0).tolist()
    return [int(ends[frame]) for frame in frames]


def _measured(gaze: GazeOutput, frames: Sequence[int], losses: Tensor) -> tuple[Tensor, Tensor]:
    """Return (rollouts, N) where a loss was measured, the last real slot of each reconstructed frame, and the
    losses there."""
    slots = gaze.num_gazing_each_frame.tolist()
    measured = torch.zeros_like(gaze.if_padded_gazing)
    values = torch.zeros_like(gaze.gazing_pos, dtype=losses.dtype)
    for frame, end, loss in zip(frames, _ends(gaze, frames), losses.unbind(dim=1), strict=True):
        start = end - slots[frame]
        number = torch.arange(start, end, device=measured.device)
        last = (number * ~gaze.if_padded_gazing[:, start:end]).amax(dim=1, keepdim=True)
        measured.scatter_(1, last, True)
        values.scatter_(1, last, loss[:, None])
    return measured, values
