"""The reconstructor under the released name and call: the same numbers, and refusals by name."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ViTMAEConfig

from autogaze.errors import InputError
from autogaze.tasks.video_mae_reconstruction.modeling_video_mae import ViTMAEForPreTraining
from tests.reference.fill import clip, fill
from tests.tasks.video_mae_reconstruction.examples import REFERENCE, TINY, gaze, reconstructor

_RELEASED_KEYS = {
    "scale_embed": True,
    "time_embed": True,
    "causal": True,
    "loss_type": "l1",
    "loss_weights": "1",
}


def as_clients_build_it(values: dict[str, Any]) -> ViTMAEForPreTraining:
    """transformers' configuration with the released keys set on it."""
    theirs = {name: value for name, value in values.items() if name in ViTMAEConfig().to_dict()}
    config = ViTMAEConfig(**theirs)
    for name, value in {**_RELEASED_KEYS, **values}.items():
        setattr(config, name, value)
    config._attn_implementation = "sdpa"
    return ViTMAEForPreTraining(config)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: f"frames{case['frame_idx']}")
def test_the_released_call_gives_the_released_numbers(case: dict[str, Any]) -> None:
    mae = as_clients_build_it(REFERENCE["config"])
    fill(mae, REFERENCE["weight_seed"])
    gazes = {name: torch.tensor(value) for name, value in REFERENCE["gaze"].items()}
    padded = gazes["if_padded_gazing"].bool()
    gazes["gazing_pos"][padded] = -1  # as label makers fill padded slots
    with torch.no_grad():
        output = mae.eval()(
            pixel_values=clip(REFERENCE["clip_seed"], REFERENCE["batch"], REFERENCE["frames"]),
            gazing_info={**gazes, "if_padded_gazing": padded},
            frame_idx_to_reconstruct=torch.tensor(case["frame_idx"]),
            interpolate_pos_encoding=True,
        )
    losses = torch.tensor(case["loss_each_frame"])
    torch.testing.assert_close(output.loss_each_reconstruction_frame, losses, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.loss_mean, torch.tensor(case["loss_mean"]), atol=1e-5, rtol=0)
    sampled = output.reconstruction.flatten()[case["reconstruction"]["index"]]
    tolerance = 1e-4 * case["reconstruction_stats"]["std"]
    torch.testing.assert_close(sampled, torch.tensor(case["reconstruction"]["value"]), atol=tolerance, rtol=0)
    assert torch.equal(mae.unpatchify(output.logits), output["reconstruction"])


def test_a_tuple_holds_losses_logits_and_frames() -> None:
    mae = reconstructor().mae
    whole = mae(clip(3, 1, 2), gaze([2, 2]))
    losses, mean, logits, frames = mae(clip(3, 1, 2), gaze([2, 2]), return_dict=False)
    assert torch.equal(losses, whole.loss_each_reconstruction_frame)
    assert torch.equal(mean, whole.loss_mean)
    assert (logits.shape, frames.shape) == (whole.logits.shape, whole.reconstruction.shape)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ({"output_attentions": True}, "the reconstructor keeps neither"),
        (
            {"frame_idx": [0]},
            "argument of ViTMAEForPreTraining 'frame_idx': did you mean 'frame_idx_to_reconstruct'",
        ),
    ],
)
def test_arguments_that_cannot_be_had_are_refused_by_name(argument: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        reconstructor().mae(clip(3, 1, 2), gaze([2, 2]), **argument)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("qkv_bias", False, "qkv_bias in ViTMAEConfig is False; a reconstructor is built with True"),
        ("hidden_dropout_prob", 0.1, "hidden_dropout_prob in ViTMAEConfig is 0.1"),
    ],
)
def test_configurations_of_another_kind_of_model_are_refused(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        as_clients_build_it({**TINY, key: value})


def test_a_plain_configuration_of_transformers_has_one_scale() -> None:
    sizes = {name: value for name, value in TINY.items() if name != "max_num_frames"}
    assert ViTMAEForPreTraining(ViTMAEConfig(**sizes)).config.grid.scales == (224,)


def test_what_is_saved_is_read_again_and_by_transformers(tmp_path: Path) -> None:
    import transformers

    mae = reconstructor().mae
    mae.save_pretrained(tmp_path)
    again = ViTMAEForPreTraining.from_pretrained(tmp_path)
    assert again.config.to_dict().items() >= mae.config.to_dict().items()
    for name, tensor in mae.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    theirs = transformers.ViTMAEForPreTraining.from_pretrained(tmp_path)
    assert torch.equal(theirs.vit.embeddings.cls_token, mae.vit.embeddings.cls_token)
    processor = transformers.VivitImageProcessor.from_pretrained(tmp_path, size=224)
    assert processor.rescale_factor == mae.config.rescale_factor
    assert processor.image_mean == list(mae.config.image_mean)


def test_the_released_name_keeps_a_callers_configuration_as_it_was() -> None:
    config = ViTMAEConfig(**{name: value for name, value in TINY.items() if name != "max_num_frames"})
    before = copy.deepcopy(config.to_dict())
    ViTMAEForPreTraining(config)
    assert config.to_dict() == before
