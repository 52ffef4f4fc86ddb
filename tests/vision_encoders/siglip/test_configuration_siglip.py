"""The configuration reads transformers' keys, keeps what it does not know, and refuses nonsense."""

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
