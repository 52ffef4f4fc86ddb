"""Choosing patches: budgets, requirements, batches, sampling."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze.models.autogaze.generation import by_chance
from tests.reference.cases import gaze_case, gaze_model, gaze_video
from tests.reference.fill import clip

PATCHES = 265


def gazes_of(output, video):
    """Return the gazes of each frame of one video, padding left out."""
    slots = output.num_gazing_each_frame.tolist()
    frames = zip(output.gazing_pos[video].split(slots), output.if_padded_gazing[video].split(slots))
    return [positions[~padded].tolist() for positions, padded in frames]


def slots_up_to_the_last_gaze(output, video):
    """Return each frame's slots of one video, EOS where padded, cut behind the last gaze."""
    slots = output.num_gazing_each_frame.tolist()
    frames = []
    for positions, padded in zip(
        output.gazing_pos[video].split(slots), output.if_padded_gazing[video].split(slots)
    ):
        end = int((~padded).nonzero()[-1]) + 1
        frames.append(positions[:end].tolist())
    return frames


@pytest.fixture(scope="module")
def tiny():
    return gaze_model("tiny", 12)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"gazing_ratio": 0.1},
        {"gazing_ratio": [0.05, 0.3, 0.01, 0.1]},
        {"gazing_ratio": 0.3, "task_loss_requirement": -0.6},
        {"gazing_ratio": 0.4, "task_loss_requirement": [-0.4, -0.6, -0.8, 0.2]},
        {"task_loss_requirement": -0.7},
    ],
)
def test_a_video_in_a_batch_gets_what_it_gets_alone(tiny, kwargs):
    videos = torch.cat([clip(26, 3, 4), clip(27, 2, 4)])
    with torch.inference_mode():
        together = tiny({"video": videos}, **kwargs)
        for video in range(len(videos)):
            alone = tiny({"video": videos[video : video + 1]}, **kwargs)
            assert slots_up_to_the_last_gaze(together, video) == slots_up_to_the_last_gaze(alone, 0)
            assert together.patch_hash(video) == alone.patch_hash()


def test_a_video_does_not_depend_on_its_batch_mates(tiny):
    first, a, b = clip(30, 1, 4), clip(31, 1, 4), clip(32, 1, 4)
    with torch.inference_mode():
        with_a = tiny({"video": torch.cat([first, a])}, task_loss_requirement=-0.7)
        with_b = tiny({"video": torch.cat([b, first])}, task_loss_requirement=-0.7)
    assert gazes_of(with_a, 0) == gazes_of(with_b, 1)


def test_reference_batch_together_gives_what_each_video_gets_alone():
    case = gaze_case("batch_of_three")
    model = gaze_model(case["config"], case["weight_seed"])
    with torch.inference_mode():
        output = model({"video": gaze_video(case)}, **case["kwargs"])
    for video, expected in enumerate(case["per_sample"]):
        frames = torch.tensor(expected["gazing_pos"][0]).split(expected["num_gazing_each_frame"])
        padded = torch.tensor(expected["if_padded_gazing"][0]).bool().split(expected["num_gazing_each_frame"])
        assert gazes_of(output, video) == [p[~m].tolist() for p, m in zip(frames, padded)]
    longest = [max(s["num_gazing_each_frame"][t] for s in case["per_sample"]) for t in range(case["frames"])]
    assert output.num_gazing_each_frame.tolist() == longest


@settings(max_examples=10, deadline=None)
@given(ratios=st.lists(st.floats(0, 1), min_size=2, max_size=2), requirement=st.none() | st.floats(-1.5, 1.5))
def test_gazes_are_distinct_patches_of_their_frame_within_the_budget(ratios, requirement):
    with torch.inference_mode():
        output = gaze_model("tiny", 12)(
            {"video": clip(33, 2, 2)}, gazing_ratio=ratios, task_loss_requirement=requirement
        )
    for video in range(2):
        for t, gazes in enumerate(gazes_of(output, video)):
            assert len(set(gazes)) == len(gazes)
            assert all(t * PATCHES <= g < (t + 1) * PATCHES for g in gazes)
            budget = max(1, int(torch.tensor(ratios[t]) * PATCHES))
            assert 1 <= len(gazes) <= budget
            if requirement is None:
                assert len(gazes) == budget
    padded = output.gazing_pos[output.if_padded_gazing]
    assert (padded % PATCHES == 0).all()


def test_masks_mark_exactly_the_gazes(tiny):
    with torch.inference_mode():
        output = tiny({"video": clip(34, 2, 3)}, gazing_ratio=0.2, task_loss_requirement=-0.5)
    whole = torch.cat(output.gazing_mask, dim=-1).flatten(1)
    for video in range(2):
        real = output.gazing_pos[video][~output.if_padded_gazing[video]]
        assert whole[video].nonzero()[:, 0].tolist() == sorted(real.tolist())


def test_training_mode_samples_by_temperature_and_seed(tiny):
    video = {"video": clip(35, 1, 2)}

    def sample(seed, temperature):
        torch.manual_seed(seed)
        tiny.train()
        try:
            return tiny(video, gazing_ratio=0.1, temperature=temperature)
        finally:
            tiny.eval()

    assert sample(1, 1.0).patch_hash() == sample(1, 1.0).patch_hash()
    assert sample(1, 1.0).patch_hash() != sample(2, 1.0).patch_hash()
    with torch.inference_mode():
        best = tiny(video, gazing_ratio=0.1)
    assert sample(3, 1e-6).patch_hash() == best.patch_hash()


def test_sampling_follows_the_softmax():
    torch.manual_seed(0)
    scores = torch.tensor([2.0, 1.0, 0.0, float("-inf")]).expand(20000, 4)
    chosen = by_chance(temperature=2.0)(scores)[:, 0]
    frequency = chosen.bincount(minlength=4) / len(chosen)
    expected = torch.tensor([1.0, 0.5, 0.0]).exp()
    assert torch.allclose(frequency[:3], expected / expected.sum(), atol=0.015)
    assert frequency[3] == 0


def test_sequential_step_positions_are_another_model_than_the_released_ones(tiny):
    video = {"video": clip(36, 1, 2)}
    with torch.inference_mode():
        released = tiny(video, gazing_ratio=0.3)
        sequential = tiny(video, gazing_ratio=0.3, step_positions="sequential")
    # The first group of a frame is chosen before any step is taken.
    assert gazes_of(released, 0)[0][:10] == gazes_of(sequential, 0)[0][:10]
    assert released.patch_hash() != sequential.patch_hash()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_choose_full_budgets(dtype):
    model = gaze_model("tiny", 12, dtype)
    with torch.inference_mode():
        output = model({"video": clip(37, 1, 2).to(dtype)}, gazing_ratio=0.1)
    assert output.gazes_each_frame().tolist() == [[26, 26]]


def test_float64_chooses_the_patches_of_float32(tiny):
    video = clip(38, 1, 3)
    with torch.inference_mode():
        single = tiny({"video": video}, gazing_ratio=0.2)
        double = gaze_model("tiny", 12, torch.float64)({"video": video.double()}, gazing_ratio=0.2)
    assert single.patch_hash() == double.patch_hash()


def test_scoring_is_done_only_when_asked(tiny):
    video = {"video": clip(39, 2, 2)}
    with torch.inference_mode():
        plain = tiny(video, gazing_ratio=0.1, generate_only=True)
        scored = tiny(video, gazing_ratio=0.1, generate_only=False)
    assert plain["log_action_probs"] is None
    assert plain["task_loss_prediction"] is None
    assert scored.log_action_probs.shape == scored.gazing_pos.shape == scored.task_loss_prediction.shape
    assert (scored.log_action_probs < 0).all()
    assert scored.patch_hash() == plain.patch_hash()


def test_gradients_of_the_scores_reach_every_parameter():
    model = gaze_model("tiny", 31)
    video = clip(40, 1, 2)
    with torch.no_grad():
        gaze = model({"video": video}, gazing_ratio=0.1)
    scored = model({"video": video}, gazing_info=gaze)
    (scored.log_action_probs.mean() + scored.task_loss_prediction.mean()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    model.zero_grad(set_to_none=True)
    assert without == []
