"""The configuration reads transformers' keys, keeps what it does not know, and refuses nonsense."""

import copy
from pathlib import Path
from typing import Any

import pytest

from autogaze.errors import InputError
from autogaze.vision_encoders.siglip import SiglipVisionConfig
from autogaze.vision_encoders.siglip.configuration_siglip import read_siglip_config


def test_unknown_keys_survive_a_round_trip() -> None:
    config = SiglipVisionConfig.from_dict({"hidden_size": 96, "note": {"a": 1}})
    assert config.extra == {"note": {"a": 1}}
    assert config.to_dict()["note"] == {"a": 1}
    assert SiglipVisionConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


def test_the_defaults_are_those_of_transformers() -> None:
    from transformers import SiglipVisionConfig as Theirs

    theirs = Theirs().to_dict()
    ours = SiglipVisionConfig().to_dict()
    shared = ours.keys() & theirs.keys()
    assert {"hidden_size", "layer_norm_eps", "hidden_act", "image_size", "model_type"} <= shared
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_the_encoder_is_found_beside_a_text_model() -> None:
    nested = {"model_type": "siglip", "text_config": {}, "vision_config": {"hidden_size": 96}}
    assert read_siglip_config(nested, {"scales": 112}).hidden_size == 96
    assert read_siglip_config(nested, {"scales": 112}).grid.scales == (112,)


def test_without_scales_the_image_size_is_the_only_one() -> None:
    config = SiglipVisionConfig(image_size=384, patch_size=14)
    assert config.grid.scales == (384,)
    assert config.grid.patches_per_frame == config.table_places == 27 * 27


def test_it_is_a_configuration_of_transformers() -> None:
    from transformers import PretrainedConfig

    config = SiglipVisionConfig(hidden_size=96, output_hidden_states=True)
    assert isinstance(config, PretrainedConfig)
    assert config.output_hidden_states
    assert config.to_dict()["hidden_size"] == 96


def test_unset_scales_are_written_as_the_image_size_which_the_released_loader_can_read() -> None:
    for config in (SiglipVisionConfig(), SiglipVisionConfig(scales=""), SiglipVisionConfig(scales=None)):
        assert config.to_dict()["scales"] == config.to_diff_dict()["scales"] == "224"


@pytest.mark.parametrize("scales", [[32, 224], "32+224"])
def test_what_is_set_later_is_saved_loaded_and_copied(scales: Any, tmp_path: Path) -> None:
    config = SiglipVisionConfig()
    config.scales = scales
    config.attn_type = "causal"
    config._attn_implementation = "eager"
    config.note = {"a": 1}
    config.save_pretrained(tmp_path)
    for again in (SiglipVisionConfig.from_pretrained(tmp_path), copy.deepcopy(config)):
        assert again == config
        assert (again.scales, again.attn_type, again.note) == ("32+224", "causal", {"a": 1})
        assert again._attn_implementation == "eager"
        assert again.grid.patches_per_frame == 200


def test_configurations_that_differ_in_a_setting_are_not_equal() -> None:
    assert SiglipVisionConfig() == SiglipVisionConfig(scales=224)
    assert SiglipVisionConfig() != SiglipVisionConfig(scales="112+224")
    assert SiglipVisionConfig() != SiglipVisionConfig(attn_implementation="eager")


def test_backends_are_called_by_their_names_here_or_in_transformers() -> None:
    assert SiglipVisionConfig()._attn_implementation == "sdpa"
    assert SiglipVisionConfig(attn_implementation="flex_attention")._attn_implementation == "flex"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("scales", "32 224", "scales '32 224' must be side lengths"),
        ("scales", "8+224", "does not fit the smallest scale, 8 pixels"),
        ("attn_type", "blockcausal", "did you mean 'block_causal'"),
        ("_attn_implementation", "flash_attention", "did you mean 'flash_attention_2'"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_set(name: str, value: Any, sentence: str) -> None:
    config = SiglipVisionConfig()
    with pytest.raises(InputError, match=sentence):
        setattr(config, name, value)
    assert config == SiglipVisionConfig()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_attention_heads": 7}, "hidden_size 768 must be a multiple of num_attention_heads, 7"),
        ({"hidden_act": "relu"}, "unknown activation 'relu'"),
        ({"attention_dropout": 0.1}, "attention_dropout 0.1 must be 0"),
        ({"attn_type": "casual"}, "did you mean 'causal'"),
        ({"max_embed_batch_size": 0}, "must be at least 1 frame"),
        ({"scales": "large"}, "must be side lengths"),
        ({"model_type": "siglip2_vision_model"}, "not a SigLIP encoder of fixed resolution"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        SiglipVisionConfig.from_dict(values)
