import pytest
import torch

from autogaze.datasets.batches import collate, to_inputs
from autogaze.labelling.patch_gains import estimated_gains
from autogaze.training.algorithms.distillation import gain_divergence
from autogaze.training.algorithms.objective import Moment
from tests.training.runs import Clips, tiny_trainer

BATCH = collate([Clips(2)[n] for n in range(2)])
NEVER = float("-inf")


@pytest.fixture
def objective(tmp_path):
    return tiny_trainer("distillation", tmp_path).objective.train()


def prepared_at(objective, step=0):
    with torch.no_grad():
        return objective.prepare(BATCH, Moment(0, step, 10))


def test_a_policy_in_proportion_to_the_gains_has_nothing_to_learn():
    gains = torch.tensor([[[4.0, 2.0, 1.0, 0.0, 9.0]]])
    policy = torch.tensor(
        [[[4.0, 2.0, 1.0, 1e-30, 0.0, 0.0]]]
    ).log()  # the last patch is taken, EOS forbidden
    torch.testing.assert_close(gain_divergence(policy, gains, 1.0), torch.zeros(1, 1))
    torch.testing.assert_close(gain_divergence(2 * policy, gains, 2.0), torch.zeros(1, 1))


def test_the_divergence_is_that_of_kullback_and_leibler():
    gains, logits = torch.rand(2, 3, 5), torch.randn(2, 3, 6)
    target = gains.square() / gains.square().sum(dim=-1, keepdim=True)
    expected = (target * (target.log() - logits.log_softmax(dim=-1)[..., :5])).sum(dim=-1)
    torch.testing.assert_close(gain_divergence(logits, gains, 2.0), expected)


def test_where_nothing_is_to_be_gained_nothing_is_to_be_learnt():
    logits = torch.tensor([[[0.3, NEVER, 0.1, NEVER]]], requires_grad=True)
    divergence = gain_divergence(logits, torch.tensor([[[0.0, 7.0, 0.0]]]), 1.0)
    divergence.sum().backward()
    assert divergence.item() == 0
    assert not logits.grad.any()


def test_gains_are_told_along_the_policys_own_gazes(objective):
    prepared = prepared_at(objective)
    again = prepared_at(objective)
    gaze = prepared.choices["gaze"]
    assert torch.equal(gaze.gazing_pos, again.choices["gaze"].gazing_pos)
    assert not torch.equal(gaze.gazing_pos, prepared_at(objective, step=1).choices["gaze"].gazing_pos)
    video, rates = to_inputs(BATCH, "cpu")["video"], objective.settings.gain_rates
    gains = estimated_gains(objective.task, video, gaze, rates, 20)
    torch.testing.assert_close(prepared.choices["estimated"], gains.estimated)
    torch.testing.assert_close(prepared.choices["losses"], gains.losses)
    assert prepared.counts == {"videos": 2, "gazes": gaze.gazing_pos.numel()}


def test_the_loss_is_per_gaze_and_a_policy_learns_it(objective):
    prepared = prepared_at(objective)
    optimizer = torch.optim.Adam(objective.gaze.parameters(), 3e-3)
    divergences = []
    for _ in range(30):
        optimizer.zero_grad()
        result = objective(prepared, prepared.counts)
        result.loss.backward()
        optimizer.step()
        divergences.append(result.metrics["distillation_loss"].item())
    assert divergences[-1] < 0.7 * divergences[0]
    twice = {name: 2 * count for name, count in prepared.counts.items()}
    whole, half = (objective(prepared, totals).loss.item() for totals in (prepared.counts, twice))
    assert half == pytest.approx(whole / 2, rel=1e-4)


def test_the_reconstructor_stays_as_it_is(objective):
    prepared = prepared_at(objective)
    objective(prepared, prepared.counts).loss.backward()
    assert all(parameter.grad is None for parameter in objective.task.parameters())
