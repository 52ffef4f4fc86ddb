"""Training the reconstructor: paint frames from patches that selectors, or a gaze model, chose."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid
from autogaze.models.autogaze import AutoGaze, GazeOutput
from autogaze.models.autogaze.budgets import budgets_of
from autogaze.selectors import SELECTORS
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.losses import unnormalized
from autogaze.tasks.video_mae_reconstruction.metrics import MOST_PSNR
from autogaze.training.algorithms.objective import Moment, Objective, Prepared, Result, videos
from autogaze.training.masks import Masks, PolicyMasks
from autogaze.training.seeds import generator

VALIDATION_SELECTOR = "random"


def drawn_frames(count: int, sample_rate: float, moment: Moment) -> list[int]:
    """Return which of ``count`` frames are reconstructed at a step: a random share, at least one, ascending.

    All videos of a step share them, in whatever process they are.
    """
    order = torch.randperm(count, generator=generator(moment.seed, "frames", moment.step))
    return sorted(order[: max(1, round(sample_rate * count))].tolist())


class Reconstruction(Objective):
    """The mean reconstruction loss over videos and reconstructed frames."""

    def __init__(
        self,
        task: VideoMAEReconstruction,
        masks: Masks,
        recon_sample_rate: float,
        validation_ratios: Sequence[float],
    ) -> None:
        super().__init__()
        self.task = task
        self.masks = masks
        self.recon_sample_rate = recon_sample_rate
        self.validation_ratios = validation_ratios

    @property
    def grid(self) -> PatchGrid:
        return self.task.config.grid

    def prepare(self, batch: Mapping[str, Any], moment: Moment) -> Prepared:
        video = videos(batch)
        frames = drawn_frames(video.shape[1], self.recon_sample_rate, moment)
        gaze = self.masks.draw(video, moment)
        return Prepared(batch, {"frames": len(video) * len(frames)}, {"gaze": gaze, "frames": frames})

    def forward(self, prepared: Prepared, totals: Mapping[str, float]) -> Result:
        choices = prepared.choices
        video = {"video_for_task": videos(prepared.batch)}
        output = self.task.forward_output(video, choices["gaze"], choices["frames"])
        losses: Tensor = output["reconstruction_loss_each_reconstruction_frame"]
        loss = losses.sum() / totals["frames"]
        return Result(loss, {"reconstruction_loss": loss.detach()})

    def validate(self, batch: Mapping[str, Any], moment: Moment) -> dict[str, tuple[float, float]]:
        video, grid = videos(batch), self.task.config.grid
        if isinstance(self.masks, PolicyMasks):
            return policy_quality(self.masks.gaze, self.task, video, self.validation_ratios)
        metrics: dict[str, tuple[float, float]] = {}
        for ratio in self.validation_ratios:
            budgets = budgets_of(torch.full((video.shape[1],), ratio), grid.patches_per_frame)
            gaze = SELECTORS[VALIDATION_SELECTOR](moment.seed, grid)(video, budgets)
            metrics |= reconstruction_quality(self.task, video, gaze, f"@{ratio:g}")
        return metrics

    def trained(self) -> dict[str, Any]:
        return {"task": self.task}


def reconstruction_quality(
    task: VideoMAEReconstruction, video: Tensor, gaze: GazeOutput, suffix: str
) -> dict[str, tuple[float, float]]:
    """Return sum and count, over videos and frames, of the loss and of the peak signal-to-noise ratio
    (dB)."""
    output = task.forward_output({"video_for_task": video}, gaze)
    losses = output["reconstruction_loss_each_reconstruction_frame"].detach()
    pictures = (unnormalized(x, task.config).clamp(0, 255) / 255 for x in (output["reconstruction"], video))
    decibels = -10 * torch.sub(*pictures).detach().double().square().mean(dim=(-3, -2, -1)).log10()
    decibels = decibels.clamp(max=MOST_PSNR)
    return {
        f"loss{suffix}": (float(losses.sum()), losses.numel()),
        f"psnr{suffix}": (float(decibels.sum()), decibels.numel()),
    }


def policy_quality(
    gaze: AutoGaze, task: VideoMAEReconstruction, video: Tensor, ratios: Sequence[float]
) -> dict[str, tuple[float, float]]:
    """Return the same of what a gaze model chooses at each of ``ratios``."""
    metrics: dict[str, tuple[float, float]] = {}
    for ratio in ratios:
        chosen = gaze({"video": video}, gazing_ratio=ratio, generate_only=True)
        metrics |= reconstruction_quality(task, video, chosen, f"@{ratio:g}")
    return metrics
