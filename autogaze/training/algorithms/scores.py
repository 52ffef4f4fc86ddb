"""Scoring of gazes by a model in training."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autogaze.models.autogaze import AutoGaze
from autogaze.models.autogaze.decoder import DecoderWeights
from autogaze.models.autogaze.generation import StepPositions
from autogaze.models.autogaze.scoring import Predictions, Scores, predictions, score

ROLLOUT_POSITIONS: StepPositions = "released"
"""Of rollouts and of what is learnt from them alike: what the gaze model does when it is used."""


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
    given = _given(gaze, vision, gazing_pos, padded, slots)
    return score(*given, temperature=temperature, step_positions=step_positions)


def gaze_predictions(
    gaze: AutoGaze,
    vision: Tensor,
    gazing_pos: Tensor,
    padded: Tensor,
    slots: Sequence[int],
    step_positions: StepPositions,
) -> Predictions:
    """Return what the policy says at every slot of gazes as those of :func:`gaze_scores`, with gradients."""
    given = _given(gaze, vision, gazing_pos, padded, slots)
    return predictions(*given, as_policy=True, step_positions=step_positions)


def _given(
    gaze: AutoGaze, vision: Tensor, gazing_pos: Tensor, padded: Tensor, slots: Sequence[int]
) -> tuple[DecoderWeights, Tensor, Tensor, Tensor, list[int], str]:
    frame = torch.arange(len(slots)).repeat_interleave(torch.tensor(slots)).to(vision.device)
    indices = gazing_pos - frame * gaze.num_vision_tokens_each_frame
    weights = gaze.gazing_model.gaze_decoder.weights()
    return weights, vision, indices, padded, list(slots), gaze.attn_implementation
