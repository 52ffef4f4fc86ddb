import pytest
import torch

from autogaze.datasets.batches import collate
from autogaze.selectors import SELECTORS
from autogaze.tasks.video_mae_reconstruction.metrics import MOST_PSNR, frame_metrics
from autogaze.training.algorithms.objective import Moment
from autogaze.training.algorithms.reconstruction import drawn_frames, reconstruction_quality
from autogaze.video.preprocessing import unnormalize
from tests.reference.fill import clip
from tests.tasks.video_mae_reconstruction.examples import reconstructor
from tests.training.runs import Clips, tiny_trainer

MOMENT = Moment(seed=0, step=3, steps=10)


def test_a_random_share_of_the_frames_is_reconstructed_and_at_least_one():
    drawn = [drawn_frames(16, 0.125, Moment(0, step, 100)) for step in range(100)]
    assert all(len(set(frames)) == 2 and frames == sorted(frames) for frames in drawn)
    assert {frame for frames in drawn for frame in frames} == set(range(16))
    assert len(drawn_frames(4, 0.1, MOMENT)) == 1
    assert drawn_frames(4, 1.0, MOMENT) == [0, 1, 2, 3]


def test_the_loss_is_the_mean_over_all_videos_and_frames_of_the_global_batch(tmp_path):
    objective = tiny_trainer("reconstruction", tmp_path).objective
    parts = [
        objective.prepare(collate([Clips(4)[n] for n in indices]), Moment(0, 0, 10, indices[0]))
        for indices in ((0, 1, 2), (3,))
    ]
    totals = {"frames": sum(part.counts["frames"] for part in parts)}
    assert totals == {"frames": 4}  # one of two frames of four videos
    loss = sum(objective(part, totals).loss.item() for part in parts)
    whole = objective.prepare(collate([Clips(4)[n] for n in range(4)]), Moment(0, 0, 10, 0))
    output = objective.task.forward_output(
        {"video_for_task": _video(range(4))}, whole.choices["gaze"], whole.choices["frames"]
    )
    assert loss == pytest.approx(output["reconstruction_loss"].mean().item(), rel=1e-5)


def test_equal_frames_do_not_spoil_a_mean_of_psnr(monkeypatch):
    task, video = reconstructor(), clip(0, 1, 2)
    monkeypatch.setattr(
        task,
        "forward_output",
        lambda inputs, gaze: {
            "reconstruction": inputs["video_for_task"],
            "reconstruction_loss_each_reconstruction_frame": torch.zeros(1, 2),
        },
    )
    assert reconstruction_quality(task, video, None, "")["psnr"] == (2 * MOST_PSNR, 2)


def test_quality_agrees_with_the_published_definition_of_psnr():
    task, video = reconstructor(), clip(2, 2, 3)
    gaze = SELECTORS["random"](0)(video, (9, 4, 4))
    quality = reconstruction_quality(task, video, gaze, "@x")
    output = task.forward_output({"video_for_task": video}, gaze)
    metrics = frame_metrics(
        unnormalize(video.flatten(0, 1)), unnormalize(output["reconstruction"].flatten(0, 1))
    )
    total, count = quality["psnr@x"]
    assert count == 6
    assert total == pytest.approx(sum(frame["psnr"] for frame in metrics), rel=1e-4)
    assert quality["loss@x"] == pytest.approx((output["reconstruction_loss"].sum().item() * 3, 6), rel=1e-5)


def test_validation_does_not_depend_on_the_step(tmp_path):
    objective = tiny_trainer("reconstruction", tmp_path).objective.eval()
    batch = collate([Clips(2)[n] for n in range(2)])
    with torch.no_grad():
        first, second = (objective.validate(batch, Moment(0, step, 10)) for step in (0, 7))
    assert first == second
    assert first.keys() == {"loss@0.05", "psnr@0.05"}


def _video(indices):
    from autogaze.datasets.batches import to_inputs

    return to_inputs(collate([Clips(4)[n] for n in indices]), "cpu")["video"]
