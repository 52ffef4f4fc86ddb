"""Scoring of gazes by a model in training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autogaze.models.autogaze import AutoGaze
from autogaze.models.autogaze.generation import StepPositions
from autogaze.models.autogaze.scoring import Scores, score


def gaze_scores(
    gaze: AutoGaze,
    vision: Tensor,
    gazing_pos: Tensor,
    padded: Tensor,
    slots: Sequence[int],
    step_positions: StepPositions,
    temperature: float | None = None,
) -> Scores:
    """Score (B, N) gazes, with gradients, given the vision tokens of their videos, (B, T, tokens, C).

    ``padded`` (B, N) is True where a slot holds no gaze, and ``slots`` are those of each of the T frames. The
    rest is as of :func:`autogaze.models.autogaze.scoring.score`.
    """
    frame = torch.arange(len(slots)).repeat_interleave(torch.tensor(slots)).to(vision.device)
    return score(
        gaze.gazing_model.gaze_decoder.weights(),
        vision,
        gazing_pos - frame * gaze.num_vision_tokens_each_frame,
        padded,
        list(slots),
        gaze.attn_implementation,
        temperature=temperature,
        step_positions=step_positions,
    )
