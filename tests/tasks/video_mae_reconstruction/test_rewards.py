"""Losses and rewards of gazes are where the released task puts them."""

import torch

from tests.reference.fill import clip
from tests.tasks.video_mae_reconstruction.examples import gaze, reconstructor


def test_a_task_that_is_called_gives_loss_reward_and_metrics() -> None:
    task = reconstructor()
    task.recon_sample_rate = 0.5
    gazes = gaze([3, 2], batch=2) | {"num_vision_tokens_each_frame": 265}
    gazes["if_padded_gazing"][1, 1:3] = True
    torch.manual_seed(1)  # draws frame 0
    with torch.no_grad():
        result = task({"video_for_task": clip(3, 2, 2)}, gazes)
    frame = result["outputs"]["frame_idx_to_reconstruct"].tolist()
    (first, second), start, stop = result["loss"].tolist(), [0, 3][frame[0]], [3, 5][frame[0]]
    assert result["reward"].tolist() == [[-first], [-second]]
    assert result["traj_len_each_reward"].tolist() == [stop]
    # A loss stands where the next slot of its frame is padded, and at the frame's last slot.
    expected = torch.zeros(2, 5)
    expected[:, stop - 1] = torch.tensor([first, second])
    if start == 0:
        expected[1, :3] = second
    assert torch.equal(result["task_losses"], expected)
    assert torch.equal(result["task_losses_mask"], (expected > 0).float())
    kept = result["outputs"]["num_non_padded_gazing_at_each_reconstruction_frame"].tolist()
    assert kept == [[stop - start], [1 if start == 0 else 2]]
    assert float(result["metrics"]["avg_gazing_ratio_per_frame"]) == torch.tensor(8 / (2 * 2 * 265))
