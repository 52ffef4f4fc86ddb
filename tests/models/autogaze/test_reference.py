"""The gaze model chooses the released model's patches."""

import pytest
import torch

from tests.reference.cases import gaze_case, gaze_model, gaze_video, load
from tests.reference.fill import clip

CASES = [case["name"] for case in load("gaze")["cases"]]


def expect_same_gaze(output, expected):
    assert output.num_gazing_each_frame.tolist() == expected["num_gazing_each_frame"]
    assert output.gazing_pos.tolist() == expected["gazing_pos"]
    assert output.if_padded_gazing.int().tolist() == expected["if_padded_gazing"]
    assert output.num_vision_tokens_each_frame == expected["num_vision_tokens_each_frame"]
    assert [int(mask.sum()) for mask in output.gazing_mask] == expected["gazing_mask_sum_each_scale"]


@pytest.mark.parametrize("name", CASES)
def test_each_video_alone_gets_the_released_patches(name):
    case = gaze_case(name)
    model = gaze_model(case["config"], case["weight_seed"])
    for video, expected in zip(gaze_video(case), case["per_sample"]):
        with torch.inference_mode():
            output = model({"video": video[None]}, **case["kwargs"])
        expect_same_gaze(output, expected)


def test_teacher_forced_scores_are_the_released_ones():
    case = load("gaze")["teacher_forced"]
    model = gaze_model(case["config"], case["weight_seed"])
    video = clip(case["clip_seed"], case["batch"], case["frames"])
    info = {name: torch.tensor(values) for name, values in case["gaze"].items()}
    with torch.inference_mode():
        output = model({"video": video}, gazing_info=info)
        vision = model.gazing_model.see(video)
    real = ~output.if_padded_gazing
    for name, ours in (
        ("gaze_probs", output.log_action_probs.exp()),
        ("task_loss_prediction", output.task_loss_prediction),
    ):
        theirs = torch.tensor(case[name])
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.std(), name
    assert real.any()
    for frame in (0, 3):
        sample = case[f"embed_frame{frame}"]
        theirs = torch.tensor(sample["value"])
        ours = vision[:, frame].flatten()[sample["index"]]
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.std()
