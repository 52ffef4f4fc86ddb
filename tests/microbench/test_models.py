"""The models on a CPU: four frames, the gaze model at full size."""

import pytest
import torch

from autogaze.embedded.encoder import seeded_encoder
from autogaze.embedded.reconstructor import seeded_reconstructor
from tests.reference.cases import gaze_case, gaze_model, gaze_video

pytestmark = pytest.mark.microbench
CASE = gaze_case("full_ratio")


@pytest.fixture(scope="module")
def model():
    return gaze_model(CASE["config"], CASE["weight_seed"])


@pytest.fixture(scope="module")
def video():
    """The clip of a reference case."""
    return gaze_video(CASE)


@pytest.mark.parametrize("gazing_ratio", [0.1, CASE["kwargs"]["gazing_ratio"]])
def test_gaze(benchmark, model, video, gazing_ratio):
    gaze = benchmark(model, {"video": video}, gazing_ratio=gazing_ratio)
    counted(benchmark, gaze)
    slots = int(gazing_ratio * 265)
    assert gaze.num_gazing_each_frame.tolist() == [slots] * 4
    released = CASE["per_sample"][0]["gazing_pos"][0]
    same = len(released) if gazing_ratio == CASE["kwargs"]["gazing_ratio"] else slots
    assert gaze.gazing_pos[0, :same].tolist() == released[:same]


def test_reconstruct(benchmark, model, video):
    gaze, task = model({"video": video}, gazing_ratio=0.1), seeded_reconstructor()
    output = benchmark(task.forward_output, {"video_for_task": video}, gaze)
    counted(benchmark, gaze)
    again = task.forward_output({"video_for_task": video}, gaze)
    assert output["reconstruction"].shape == video.shape
    assert output["reconstruction"].isfinite().all()
    assert torch.equal(output["reconstruction"], again["reconstruction"])


def test_encode(benchmark, model, video):
    gaze, encoder = model({"video": video}, gazing_ratio=0.1), seeded_encoder(scales="32+64+112+224")
    features = benchmark(encoder, video, gazing_info=gaze).last_hidden_state
    counted(benchmark, gaze)
    assert features.shape[:2] == gaze.gazing_pos.shape
    assert features.isfinite().all()
    assert features.std() > 0


def counted(benchmark, gaze):
    """Say what work was done, by the names that reports know."""
    frames = len(gaze.num_gazing_each_frame)
    benchmark.extra_info |= {
        "clips": 1,
        "frames": frames,
        "candidate_patches": frames * gaze.num_vision_tokens_each_frame,
        "selected_patches": int((~gaze.if_padded_gazing).sum()),
    }
