"""Scores under the policy that sampled; the released scores are pinned in ``test_modeling``."""

import copy

import pytest
import torch

from autogaze.models.autogaze import generation
from autogaze.models.autogaze.scoring import score
from autogaze.training.algorithms.scores import gaze_scores
from tests.reference.cases import gaze_model, load
from tests.reference.fill import clip

VIDEO = clip(3, 2, 3)
TEMPERATURE = 1.7


@pytest.fixture(scope="module")
def model():
    """A model that samples."""
    return copy.deepcopy(gaze_model("tiny", 11)).train()


def sampled(model, monkeypatch, step_positions):
    """Gazes sampled by the generation loop, and the log-probability it drew each with."""
    drawn = []
    by_chance = generation.by_chance

    def recorded(temperature):
        def pick(scores):
            index = by_chance(temperature)(scores)
            drawn[-1].append((scores / temperature).log_softmax(dim=-1).gather(1, index))
            return index

        drawn.append([])  # a frame begins
        return pick

    monkeypatch.setattr(generation, "by_chance", recorded)
    torch.manual_seed(0)
    with torch.no_grad():
        gaze = model(
            {"video": VIDEO},
            gazing_ratio=[0.12, 0.04, 0.2],
            temperature=TEMPERATURE,
            step_positions=step_positions,
        )
    # Heads beyond a frame's budget draw too, and nobody takes what they drew.
    taken = [
        torch.cat(frame[:slots], dim=1)
        for frame, slots in zip(drawn, gaze.num_gazing_each_frame.tolist(), strict=True)
    ]
    return gaze, torch.cat(taken, dim=1)


def scored(model, gaze, **policy):
    slots = gaze.num_gazing_each_frame.tolist()
    frame = torch.arange(len(slots)).repeat_interleave(gaze.num_gazing_each_frame)
    weights = model.gazing_model.gaze_decoder.weights()
    vision = model.gazing_model.see(VIDEO)
    indices = gaze.gazing_pos - frame * gaze.num_vision_tokens_each_frame
    return score(weights, vision, indices, gaze.if_padded_gazing, slots, **policy)


@pytest.mark.parametrize("step_positions", ["released", "sequential"])
def test_sampled_gazes_have_the_probabilities_they_were_drawn_with(model, monkeypatch, step_positions):
    gaze, drawn = sampled(model, monkeypatch, step_positions)
    scores = scored(model, gaze, temperature=TEMPERATURE, step_positions=step_positions)
    torch.testing.assert_close(scores.log_probability, drawn, rtol=1e-5, atol=1e-5)


def test_the_other_rule_of_positions_gives_other_probabilities(model, monkeypatch):
    gaze, drawn = sampled(model, monkeypatch, "released")
    other = scored(model, gaze, temperature=TEMPERATURE, step_positions="sequential").log_probability
    per_group = model.arch.group
    torch.testing.assert_close(other[:, :per_group], drawn[:, :per_group], rtol=1e-5, atol=1e-5)
    assert (other - drawn).abs().max() > 1e-2


def test_padded_slots_have_no_probability_and_finite_gradients(model):
    torch.manual_seed(0)
    with torch.no_grad():
        gaze = model({"video": VIDEO}, gazing_ratio=0.12, task_loss_requirement=-0.1)
    assert gaze.if_padded_gazing.any()
    scores = scored(model, gaze, temperature=0.3, step_positions="released")
    assert not scores.log_probability[gaze.if_padded_gazing].any()
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(scores.log_probability.sum(), parameters, allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def scored_around_padding(model, backend, case=load("scores_padded")):  # noqa: B008 - read once
    """Scores of the reference case, as training has them."""
    model.attn_implementation = backend
    info = {name: torch.tensor(values) for name, values in case["gaze"].items()}
    vision = model.gazing_model.see(clip(case["clip_seed"], case["batch"], case["frames"]))
    padded, slots = info["if_padded_gazing"].bool(), info["num_gazing_each_frame"].tolist()
    return gaze_scores(model, vision, info["gazing_pos"], padded, slots, "sequential"), padded


def gradients_around_padding(model, backend):
    scores, padded = scored_around_padding(model, backend)
    loss = scores.log_probability[~padded].mean() + scores.task_loss_prediction[~padded].square().mean()
    return torch.autograd.grad(loss, list(model.parameters()))


def test_training_learns_from_what_follows_padded_slots_with_every_backend_that_learns():
    case = load("scores_padded")
    model = copy.deepcopy(gaze_model(case["config"], case["weight_seed"]))
    scores, _ = scored_around_padding(model, "sdpa")
    released = torch.tensor(case["gaze_probs"])
    assert (scores.log_probability.exp() - released).abs().max() <= 2e-5 * released.std()
    expected = gradients_around_padding(model, "eager")
    for backend in ("sdpa", "flash_attention_2"):
        for ours, theirs in zip(gradients_around_padding(model, backend), expected):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    # Groups are predicted from padded tokens, so their embedding learns, too.
    names = [name for name, _ in model.named_parameters()]
    embedding = expected[names.index("gazing_model.gaze_decoder.model.embed_tokens.weight")]
    assert embedding[model.arch.eos].abs().max() > 1e-6


def test_the_gradient_through_a_padded_token_is_that_of_its_scores():
    case = load("scores_padded")
    model = copy.deepcopy(gaze_model(case["config"], case["weight_seed"], torch.float64))
    row = model.gazing_model.gaze_decoder.model.embed_tokens.weight

    def loss():
        scores, padded = scored_around_padding(model, "eager")
        return scores.log_probability[~padded].mean()

    (gradient,) = torch.autograd.grad(loss(), [row])
    direction, step = gradient[model.arch.eos].clone(), 0.02
    with torch.no_grad():
        row[model.arch.eos] += step * direction
        above = loss()
        row[model.arch.eos] -= 2 * step * direction
        below = loss()
    assert (above - below) / (2 * step) == pytest.approx(float(direction.square().sum()), rel=5e-3)
