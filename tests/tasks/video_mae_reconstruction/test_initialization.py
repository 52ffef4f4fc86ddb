"""A new reconstructor knows what a patch is before it has seen one."""

import torch
from torch import Tensor

from autogaze.checkpoints import load_strict
from autogaze.embedded.reconstructor import CONFIG
from autogaze.models.autogaze.generation import gaze_output
from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig, VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.initialization import _cosine_basis, initial_state


def new(config: VideoMAEConfig = CONFIG) -> VideoMAEReconstruction:
    task = VideoMAEReconstruction(config)
    load_strict(task, initial_state(config), "the initial state")
    return task.eval()


def smooth_clip() -> Tensor:
    """Two frames of (1, 2, 3, 224, 224) blobs, in the range of normalised pixels."""
    stream = torch.Generator().manual_seed(0)
    small = torch.randn(2, 3, 12, 12, generator=stream)
    return torch.nn.functional.interpolate(small, size=224, mode="bicubic")[None] * 1.5 - 2


def loss_of(task: VideoMAEReconstruction, video: Tensor, patches: Tensor) -> float:
    gaze = gaze_output([patches[None]] * video.shape[1], task.config.grid, None)
    with torch.inference_mode():
        return float(task.forward_output({"video_for_task": video}, gaze)["reconstruction_loss"])


def test_it_paints_gazed_patches_before_the_first_step() -> None:
    task, video = new(), smooth_clip()
    finest = torch.arange(sum(task.config.grid.counts[:-1]), task.config.grid.patches_per_frame)
    grey = float((video + sum(task.config.image_mean) / sum(task.config.image_std)).abs().mean())
    assert loss_of(task, video, finest) < 0.6 * grey


def test_more_patches_tell_more_before_the_first_step() -> None:
    task, video = new(), smooth_clip()
    finest = torch.arange(sum(task.config.grid.counts[:-1]), task.config.grid.patches_per_frame)
    losses = [loss_of(task, video, finest[::stride]) for stride in (16, 4, 1)]
    assert losses == sorted(losses, reverse=True)


def test_the_patterns_are_orthonormal() -> None:
    patterns, _ = _cosine_basis(96, 8)
    products = patterns.flatten(1) @ patterns.flatten(1).T
    torch.testing.assert_close(products, torch.eye(96), atol=1e-5, rtol=0)


def test_it_is_the_same_every_time_and_differs_by_seed() -> None:
    one, again, other = initial_state(CONFIG), initial_state(CONFIG), initial_state(CONFIG, seed=1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["mae.vit.embeddings.time_embed"], other["mae.vit.embeddings.time_embed"])


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
