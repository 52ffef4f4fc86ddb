"""A new reconstructor knows what a patch is before it has seen one."""

import torch
from torch import Tensor

from autogaze.checkpoints import load_strict
from autogaze.embedded.reconstructor import CONFIG
from autogaze.gaze.output import gaze_output
from autogaze.initialization.reconstructor import initial_state
from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig, VideoMAEReconstruction


def new(config: VideoMAEConfig = CONFIG) -> VideoMAEReconstruction:
    task = VideoMAEReconstruction(config)
    load_strict(task, initial_state(config), "the initial state")
    return task.eval()


def smooth_clip() -> Tensor:
    """Two frames of (1, 2, 3, 224, 224) blobs, in the range of normalised pixels."""
    stream = torch.Generator().manual_seed(0)
    small = torch.randn(2, 3, 12, 12, generator=stream)
    return torch.nn.functional.interpolate(small, size=224, mode="bicubic")[None] * 1.5 - 2


GRID = CONFIG.grid
FINEST = torch.arange(GRID.offsets[-1], GRID.patches_per_frame)
HALVED = torch.arange(GRID.offsets[-2], GRID.offsets[-1])


def painted(task: VideoMAEReconstruction, video: Tensor, by_frame: list[Tensor]) -> Tensor:
    """The reconstruction, (T, 3, 224, 224), from the patches given for each frame."""
    gaze = gaze_output([patches[None] for patches in by_frame], GRID, None)
    with torch.inference_mode():
        pictures: Tensor = task.forward_output({"video_for_task": video}, gaze)["reconstruction"][0]
    return pictures


def error(picture: Tensor, original: Tensor) -> float:
    return float((picture - original).abs().mean())


def grey_error(task: VideoMAEReconstruction, video: Tensor) -> float:
    return float((video + sum(task.config.image_mean) / sum(task.config.image_std)).abs().mean())


def test_it_paints_gazed_patches_before_the_first_step() -> None:
    task, video = new(), smooth_clip()
    assert error(painted(task, video, [FINEST, FINEST]), video[0]) < 0.6 * grey_error(task, video)


def test_more_patches_tell_more_before_the_first_step() -> None:
    task, video = new(), smooth_clip()
    errors = [error(painted(task, video, [FINEST[::n]] * 2), video[0]) for n in (16, 4, 1)]
    assert errors == sorted(errors, reverse=True)


def test_what_was_seen_before_is_painted_again() -> None:
    task, video = new(), smooth_clip()
    still = video[:, :1].expand(-1, 2, -1, -1, -1)
    _, again = painted(task, still, [FINEST, FINEST[:1]])
    assert error(again, still[0, 1]) < 0.5 * grey_error(task, still)


def test_a_coarser_patch_paints_what_it_covers_and_no_more() -> None:
    task, video = new(), smooth_clip()
    first, _ = painted(task, video, [HALVED[:1], HALVED[:1]])
    inside, outside = (slice(0, 32), slice(64, 224))
    covered = error(first[:, inside, inside], video[0, 0, :, inside, inside])
    assert covered < 0.6 * grey_error(task, video[:, :1, :, inside, inside])
    assert float(first[:, outside, outside].std()) < 0.3


def test_a_fine_patch_is_painted_over_the_coarser_one_that_covers_it() -> None:
    task, video = new(), smooth_clip()
    coarse, _ = painted(task, video, [HALVED, HALVED])
    both, _ = painted(task, video, [torch.cat([HALVED, FINEST]), HALVED])
    fine, _ = painted(task, video, [FINEST, HALVED])
    assert error(both, fine) < 0.5 * error(both, coarse)


def test_it_is_the_same_every_time_and_differs_by_seed() -> None:
    one, again, other = initial_state(CONFIG), initial_state(CONFIG), initial_state(CONFIG, seed=1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    perceptron = "mae.vit.encoder.layer.0.intermediate.dense.weight"
    assert not torch.equal(one[perceptron], other[perceptron])


def test_a_model_wider_than_a_patch_has_pixels_can_be_made_too() -> None:
    config = VideoMAEConfig(
        hidden_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        decoder_hidden_size=96,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        scales="4+8",
        image_size=8,
        patch_size=4,
    )
    assert new(config).mae.vit.embeddings.patch_embeddings.projection.weight.isfinite().all()
