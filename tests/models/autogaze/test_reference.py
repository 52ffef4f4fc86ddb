"""The gaze model chooses the released model's patches."""

import pytest
import torch

from autogaze.attention import available_backends
from tests.reference.cases import gaze_case, gaze_model, gaze_video, load
from tests.reference.fill import clip

BACKENDS = [name for name, reason in available_backends("cpu", torch.float32).items() if reason is None]
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_around_padded_slots_are_the_released_ones_with_every_backend(backend, monkeypatch):
    case = load("scores_padded")
    model = gaze_model(case["config"], case["weight_seed"])
    monkeypatch.setattr(model.gazing_model.gaze_decoder.model, "attn_implementation", backend)
    info = {name: torch.tensor(values) for name, values in case["gaze"].items()}
    with torch.inference_mode():
        output = model({"video": clip(case["clip_seed"], case["batch"], case["frames"])}, gazing_info=info)
    tenth = [9, 19, 29, 41, 51, 61]  # slots of their groups; the frames have 20, 12, 30 and 7
    assert output.if_padded_gazing[0, tenth].all()
    for name, ours in (
        ("gaze_probs", output.log_action_probs.exp()),
        ("task_loss_prediction", output.task_loss_prediction),
    ):
        theirs = torch.tensor(case[name])
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.std(), name  # as the reference says
