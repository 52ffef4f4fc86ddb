from dataclasses import replace

import pytest
import torch

from autogaze.datasets.batches import collate, to_inputs
from autogaze.training.algorithms.grpo import GRPO
from autogaze.training.algorithms.objective import Moment
from tests.training.runs import Clips, tiny_trainer

BATCH = collate([Clips(2)[n] for n in range(2)])
VIDEO = to_inputs(BATCH, "cpu")["video"]
GROUP = 2


@pytest.fixture
def objective(tmp_path):
    return tiny_trainer("grpo", tmp_path).objective.train()


def prepared_at(objective, step=0, first=0):
    with torch.no_grad():
        return objective.prepare(BATCH, Moment(0, step, 10, first))


def rows(prepared):
    gaze = prepared.choices["gaze"]
    return [
        tuple(position[~padded].tolist())
        for position, padded in zip(gaze.gazing_pos, gaze.if_padded_gazing, strict=True)
    ]


def test_rollouts_differ_within_a_group_and_are_the_same_when_drawn_again(objective):
    once, again, later = (prepared_at(objective, step) for step in (0, 0, 1))
    assert len(rows(once)) == 2 * GROUP
    assert len(set(rows(once))) == 2 * GROUP
    assert rows(once) == rows(again) != rows(later)


def test_the_group_is_the_leading_axis(objective):
    prepared = prepared_at(objective)
    gaze, frames = prepared.choices["gaze"], prepared.choices["frames"]
    video = torch.cat([VIDEO] * GROUP)
    with torch.no_grad():
        output = objective.task.forward_output({"video_for_task": video}, gaze, frames)
    torch.testing.assert_close(
        prepared.choices["reward"], -output["reconstruction_loss_each_reconstruction_frame"]
    )


def test_rollouts_share_the_features_of_their_originals(objective, monkeypatch):
    seen = []
    features = objective.task.target_features
    monkeypatch.setattr(
        objective.task,
        "target_features",
        lambda inputs, frames: seen.append(len(inputs["video_for_task"])) or features(inputs, frames),
    )
    prepared_at(objective)
    assert seen == [2]


def test_losses_are_measured_at_the_last_gaze_of_the_reconstructed_frames(objective):
    prepared = prepared_at(objective)
    gaze, measured = prepared.choices["gaze"], prepared.choices["measured"]
    slots = gaze.num_gazing_each_frame.tolist()
    (frame,) = prepared.choices["frames"]
    start = sum(slots[:frame])
    for row in range(2 * GROUP):
        real = (~gaze.if_padded_gazing[row, start : start + slots[frame]]).nonzero()
        assert measured[row].nonzero().tolist() == [[start + int(real[-1])]]
        assert prepared.choices["task_losses"][row][measured[row]] == -prepared.choices["reward"][row, 0]


def test_the_temperature_falls_over_the_run(objective):
    temperatures = [prepared_at(objective, step).choices["temperature"] for step in (0, 9)]
    assert temperatures == pytest.approx([3.0, 0.3])


def test_a_step_makes_better_rollouts_likelier_and_worse_ones_less_likely(objective):
    objective.settings = replace(objective.settings, optimize_task_loss_prediction=False)
    prepared = prepared_at(objective, step=5)
    reward = torch.tensor([[1.0], [0.0], [0.0], [1.0]])  # of each video one rollout is better
    prepared.choices["reward"] = reward
    gaze, temperature = prepared.choices["gaze"], prepared.choices["temperature"]

    def likelihoods():
        return objective._score(VIDEO, gaze, temperature).log_probability.sum(dim=1).detach()

    before = likelihoods()
    optimizer = torch.optim.SGD(objective.gaze.parameters(), 1e-4)
    objective(prepared, prepared.counts).loss.backward()
    optimizer.step()
    change = likelihoods() - before
    assert change[[0, 3]].min() > 0 > change[[1, 2]].max()


def test_only_the_gaze_model_is_trained_unless_asked(objective):
    objective(prepared := prepared_at(objective), prepared.counts).loss.backward()
    assert objective.trained().keys() == {"gaze"}
    assert all(p.grad is None for p in objective.task.parameters())
    assert all(p.grad is not None for p in objective.gaze.parameters())


def test_the_reconstructor_can_learn_along(objective, tmp_path):
    both = GRPO(objective.gaze, objective.task, objective.settings, train_task=True)
    both(prepared := prepared_at(both), prepared.counts).loss.backward()
    assert both.trained().keys() == {"gaze", "task"}
    assert all(p.grad is not None for p in both.task.parameters())


def test_validation_reconstructs_from_what_the_model_chooses(objective):
    objective.eval()
    with torch.no_grad():
        metrics = objective.validate(BATCH, Moment(0, 0, 10))
        gaze = objective.gaze({"video": VIDEO}, gazing_ratio=0.05)
        output = objective.task.forward_output({"video_for_task": VIDEO}, gaze)
    assert metrics["loss@0.05"] == pytest.approx(
        (float(output["reconstruction_loss"].sum() * 2), 4), rel=1e-5
    )
