import pytest
import torch

from autogaze.datasets.batches import collate, to_inputs
from autogaze.training.algorithms.ntp import mirrored
from autogaze.training.algorithms.objective import Moment
from autogaze.training.algorithms.scores import gaze_scores
from tests.training.runs import Clips, tiny_trainer

MOMENT = Moment(seed=0, step=0, steps=10)
BATCH = collate([Clips(3)[n] for n in range(3)])
INFO = BATCH["gt_gazing_info"]
REAL = ~INFO["if_padded_gazing"]


@pytest.fixture
def objective(tmp_path):
    return tiny_trainer("ntp", tmp_path).objective


def scores(objective):
    return objective.gaze(to_inputs(BATCH, "cpu"), gazing_info=INFO)


def test_the_loss_is_per_gaze_of_the_batch(objective):
    prepared = objective.prepare(BATCH, MOMENT)
    assert prepared.counts == {"gazes": float(REAL.sum()), "videos": 3}
    result = objective(prepared, prepared.counts)
    output = scores(objective)
    likelihood = -output.log_action_probs[REAL].mean()
    prediction = (output.task_loss_prediction - INFO["task_losses"])[REAL].square().mean()
    torch.testing.assert_close(result.metrics["ntp_loss"], likelihood.detach())
    torch.testing.assert_close(result.metrics["task_loss_prediction_loss"], prediction.detach())
    torch.testing.assert_close(result.loss, likelihood + prediction)


def test_the_loss_prediction_can_be_left_alone(objective):
    objective.optimize_task_loss_prediction = False
    prepared = objective.prepare(BATCH, MOMENT)
    result = objective(prepared, prepared.counts)
    result.loss.backward()
    head = objective.gaze.gazing_model.gaze_decoder.task_loss_prediction_head
    assert not head.weight.grad.any()
    assert result.loss.item() == pytest.approx(result.metrics["ntp_loss"].item())


def test_labels_are_learned(objective):
    optimizer = torch.optim.Adam(objective.parameters(), 3e-3)
    prepared = objective.prepare(BATCH, MOMENT)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        result = objective(prepared, prepared.counts)
        result.loss.backward()
        optimizer.step()
        losses.append(result.loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_validation_gives_sums_and_the_gazes_they_are_over(objective):
    prepared = objective.prepare(BATCH, MOMENT)
    with torch.no_grad():
        metrics = objective.validate(BATCH, MOMENT)
        trained = objective(prepared, prepared.counts).metrics
    for name, (total, count) in metrics.items():
        assert count == float(REAL.sum())
        assert total / count == pytest.approx(float(trained[name]), rel=1e-5)


def test_groups_can_be_learnt_where_the_released_loop_feeds_them(objective):
    prepared = objective.prepare(BATCH, MOMENT)
    at_true_positions = objective(prepared, prepared.counts).metrics["ntp_loss"]
    objective.step_positions = "released"
    losses = objective(prepared, prepared.counts).metrics["ntp_loss"]
    video, slots = to_inputs(BATCH, "cpu")["video"], INFO["num_gazing_each_frame"].tolist()
    vision = objective.gaze.gazing_model.see(video)
    scores = gaze_scores(objective.gaze, vision, INFO["gazing_pos"], ~REAL, slots, step_positions="released")
    torch.testing.assert_close(losses, -scores.log_probability[REAL].mean().detach())
    assert losses != at_true_positions


def test_a_mirrored_batch_shows_the_same_gazes_from_the_other_side(objective):
    grid = objective.grid
    which = torch.tensor([True, False, True])
    other = mirrored(BATCH, which, grid)
    positions = other["gt_gazing_info"]["gazing_pos"]
    for video, is_mirrored in enumerate(which.tolist()):
        frames, before = BATCH["frames"][video], INFO["gazing_pos"][video][REAL[video]]
        patch = before % grid.patches_per_frame
        expected = torch.tensor(grid.mirrored)[patch] if is_mirrored else patch
        assert torch.equal(positions[video][REAL[video]] - before + patch, expected)
        assert torch.equal(other["frames"][video], frames.flip(2) if is_mirrored else frames)
    assert torch.equal(other["gt_gazing_info"]["task_losses"], INFO["task_losses"])
    assert torch.equal(positions[~REAL], INFO["gazing_pos"][~REAL])
    again = mirrored(other, which, grid)
    assert torch.equal(again["gt_gazing_info"]["gazing_pos"], INFO["gazing_pos"])


def test_about_half_of_the_videos_are_mirrored_others_at_every_step(objective):
    objective.mirror = True
    drawn = [
        [
            not torch.equal(frames, original)
            for frames, original in zip(
                objective.prepare(BATCH, Moment(seed=0, step=step, steps=100)).batch["frames"],
                BATCH["frames"],
                strict=True,
            )
        ]
        for step in range(20)
    ]
    assert 15 < sum(map(sum, drawn)) < 45
    assert drawn[:10] != drawn[10:]
