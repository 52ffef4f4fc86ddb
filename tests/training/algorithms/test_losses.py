"""Against the released code's results on small inputs."""

import pytest
import torch

from autogaze.training.algorithms.losses import advantages, grpo_loss, ntp_loss, task_loss_prediction_loss
from tests.reference.cases import load

CASES = load("losses")
GRPO = CASES["grpo"]


def given(name):
    return torch.tensor(GRPO[name], dtype=torch.float64)


def close(actual, expected):
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def released_mean(counts, dtype):
    """The released code divides by the mean plus 1e-6, as a guard against none; here there is always one."""
    return float(counts.sum(dim=1, dtype=dtype).mean() + 1e-6)


PADDED = given("if_padded_gazing").bool()
MEAN_LENGTH = released_mean(~PADDED, torch.float32)


def credited(**changes):
    asked = {"group_size": GRPO["group_size"], "discount_factor": GRPO["discount_factor"]} | changes
    return advantages(given("reward"), GRPO["traj_len_each_reward"], PADDED, **asked)


def test_the_likelihood_of_gazes_is_the_released_one():
    close(ntp_loss(given("log_action_probs"), PADDED, MEAN_LENGTH), CASES["ntp"]["ntp_loss"])


@pytest.mark.parametrize("case", ["grpo", "ntp"])
def test_the_error_of_the_loss_prediction_is_the_released_one(case):
    measured = given("task_losses_mask").bool() & ~PADDED
    mean_length = released_mean(measured, torch.float64)
    loss = task_loss_prediction_loss(
        given("task_loss_prediction"), given("task_losses"), measured, mean_length
    )
    close(loss, CASES[case]["task_loss_prediction_loss"])


def test_the_policy_loss_and_its_gradient_are_the_released_ones():
    log_probability = given("log_action_probs").requires_grad_()
    loss = grpo_loss(log_probability, credited())
    loss.sum().backward()
    close(loss.detach(), GRPO["grpo_loss"])
    close(log_probability.grad, GRPO["grad_log_action_probs"])


def test_equal_rewards_in_a_group_teach_nothing():
    reward = torch.tensor([[1.0], [5.0]]).repeat(3, 1)  # two videos, three equal rollouts of each
    assert not advantages(reward, [12], PADDED, group_size=3, discount_factor=0.9).any()


def test_gazes_after_a_reconstructed_frame_get_no_credit_from_it():
    first, _ = GRPO["traj_len_each_reward"]
    only_first = advantages(
        given("reward")[:, :1], [first], PADDED, group_size=GRPO["group_size"], discount_factor=0.9
    )
    assert only_first[:, :first].any()
    assert not only_first[:, first:].any()


def test_without_discount_all_gazes_before_the_reward_get_the_same_credit():
    reward = torch.tensor([[2.0], [0.0]], dtype=torch.float64)
    padded = torch.tensor([[False, True, False], [False, False, True]])
    credit = advantages(reward, [3], padded, group_size=2, discount_factor=1.0)
    close(credit, [[1.0, 0.0, 1.0], [-1.0, -1.0, 0.0]])


def test_what_padded_slots_hold_does_not_matter():
    hidden = given("log_action_probs").masked_fill(PADDED, float("-inf"))
    close(ntp_loss(hidden, PADDED, MEAN_LENGTH), CASES["ntp"]["ntp_loss"])
