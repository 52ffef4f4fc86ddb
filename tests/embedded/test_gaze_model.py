"""The embedded gaze model has learnt where to look."""

import pytest
import torch
from torch import Tensor

from autogaze.datasets.batches import collate, to_inputs
from autogaze.datasets.synthetic import SyntheticVideos
from autogaze.embedded import load_gaze_model, load_reconstructor
from autogaze.models.autogaze import GazeOutput
from autogaze.models.autogaze.budgets import as_ratios, budgets_of
from autogaze.selectors import SELECTORS
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

RATIOS = (0.05, 0.1, 0.25)


@pytest.fixture(scope="module")
def video() -> Tensor:
    """Four clips of eight frames, with scenes that training never shows."""
    clips = SyntheticVideos("val", "held_out", clip_len=8)
    normalised: Tensor = to_inputs(collate([clips[n] for n in range(4)]), torch.device("cpu"))["video"]
    return normalised


@pytest.fixture(scope="module")
def reconstructor() -> VideoMAEReconstruction:
    return load_reconstructor(None)[0]


@pytest.fixture(scope="module")
def chosen(video: Tensor) -> dict[float, GazeOutput]:
    """The model's patches at each ratio."""
    model = load_gaze_model()
    with torch.inference_mode():
        return {ratio: model({"video": video}, gazing_ratio=ratio) for ratio in RATIOS}


def loss(task: VideoMAEReconstruction, video: Tensor, gaze: GazeOutput) -> float:
    with torch.inference_mode():
        return float(task.forward_output({"video_for_task": video}, gaze)["reconstruction_loss"].mean())


def test_it_has_the_released_size_and_is_in_single_precision() -> None:
    model = load_gaze_model()
    assert sum(weights.numel() for weights in model.parameters()) == 3_258_240
    assert {weights.dtype for weights in model.parameters()} == {torch.float32}
    assert not model.training


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("selector", ["random", "uniform", "coarse_first", "frame_difference", "laplacian"])
def test_its_patches_reconstruct_better_than_those_of(
    selector: str,
    ratio: float,
    video: Tensor,
    chosen: dict[float, GazeOutput],
    reconstructor: VideoMAEReconstruction,
) -> None:
    budgets = budgets_of(as_ratios(ratio, video.shape[1]), reconstructor.config.grid.patches_per_frame)
    other = SELECTORS[selector](0)(video, budgets)
    assert loss(reconstructor, video, chosen[ratio]) < loss(reconstructor, video, other)


def test_it_stops_later_the_less_loss_is_asked_for(video: Tensor) -> None:
    model = load_gaze_model()
    with torch.inference_mode():
        kept = [
            int((~model({"video": video}, task_loss_requirement=asked).if_padded_gazing).sum())
            for asked in (1.0, 0.6, 0.4)
        ]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]
