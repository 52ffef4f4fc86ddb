"""The losses follow their definitions, written out here a second time."""

import torch

from autogaze.tasks.video_mae_reconstruction.losses import (
    feature_loss,
    frame_features,
    l1_loss,
    reconstruction_loss,
    target_features,
    unnormalized,
)
from tests.reference.fill import clip
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, reconstructor


def test_l1_is_the_mean_difference_of_a_frame() -> None:
    one, other = torch.zeros(2, 3, 3, 4, 4), torch.zeros(2, 3, 3, 4, 4)
    other[1, 2, 0] = 3.0
    assert l1_loss(one, other).tolist() == [[0, 0, 0], [0, 0, 1]]


def test_feature_loss_is_the_mean_squared_difference() -> None:
    assert feature_loss(torch.zeros(1, 2, 5, 4), torch.full((1, 2, 5, 4), 2.0)).tolist() == [[4, 4]]


def test_unnormalized_undoes_the_transform() -> None:
    task = reconstructor()
    frames = torch.arange(2 * 32 * 48 * 3).mul(7).remainder(256).to(torch.uint8).view(2, 32, 48, 3)
    task.transform.do_resize = task.transform.do_center_crop = False
    normal = task.transform(frames.numpy(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(
        unnormalized(normal, task.config)[0], frames.permute(0, 3, 1, 2).float(), atol=1e-3, rtol=0
    )


def test_dinov2_features_are_the_patch_tokens_of_the_last_four_layers() -> None:
    mae = reconstructor(**ALL_LOSSES).mae
    frames = clip(3, 1, 2)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    pixels = (frames[0] * std + mean + 1) * 127.5
    hidden = mae.get_submodule("dinov2_reg")(
        (pixels / 255 - mean) / std, output_hidden_states=True
    ).hidden_states
    assert len(hidden) == 5  # the embedding and four layers
    expected = torch.cat(
        [state[:, 5:] for state in hidden[1:]], dim=-1
    )  # past one class and four register tokens
    found = frame_features(mae, "dinov2_reg", frames)
    assert found.shape == (1, 2, 16 * 16, 4 * 16)
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)


def test_siglip2_features_are_all_tokens_of_the_last_four_layers() -> None:
    mae = reconstructor(**ALL_LOSSES).mae
    frames = clip(3, 1, 2)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    own = (frames[0] * std + mean + 1) - 1  # mean and deviation 0.5 of [0, 1] is [-1, 1]
    hidden = mae.get_submodule("siglip2")(own, output_hidden_states=True).hidden_states
    found = frame_features(mae, "siglip2", frames)
    assert found.shape == (1, 2, 14 * 14, 4 * 16)
    torch.testing.assert_close(found[0], torch.cat(hidden[1:], dim=-1), atol=1e-4, rtol=1e-4)


def test_features_are_the_same_in_every_version_of_transformers() -> None:
    # The figures are transformers 4.51.3's, with weights filled in under the released names.
    mae, frames = reconstructor(**ALL_LOSSES).mae, clip(3, 1, 2)
    for loss, mean, std in (("dinov2_reg", 0.56726378, 1.81401110), ("siglip2", -3.64335254, 14.32796955)):
        features = frame_features(mae, loss, frames)
        torch.testing.assert_close(features.mean(), torch.tensor(mean), atol=1e-4 * std, rtol=0)
        torch.testing.assert_close(features.std(), torch.tensor(std), atol=1e-4 * std, rtol=0)


def test_the_loss_is_the_weighted_sum() -> None:
    mae = reconstructor(**ALL_LOSSES).mae
    one, other = clip(3, 1, 2), clip(4, 1, 2)
    targets = target_features(mae, other)
    parts = {loss: feature_loss(frame_features(mae, loss, one), targets[loss]) for loss in targets}
    expected = l1_loss(one, other) + 0.3 * parts["dinov2_reg"] + 0.3 * parts["siglip2"]
    torch.testing.assert_close(reconstruction_loss(mae, one, other, targets), expected)
    assert reconstruction_loss(mae, other, other, targets).abs().max() < 1e-6


def test_loss_networks_are_built_only_when_asked_for() -> None:
    mae = reconstructor().mae
    assert not any("dinov2" in name or "siglip" in name for name, _ in mae.named_modules())
    assert target_features(mae, clip(3, 1, 1)) == {}
