"""Nested parts of the configuration: they are set as in the released package, and what is set counts."""

import copy
import json
import pickle

import pytest

from autogaze.errors import InputError
from autogaze.models.autogaze import (
    AutoGaze,
    AutoGazeConfig,
    ConnectorConfig,
    GazeDecoderConfig,
    GazeModelConfig,
    VisionModelConfig,
)
from tests.reference.cases import load


@pytest.fixture
def config():
    return AutoGazeConfig(**load("gaze")["configs"]["tiny"])


def through_a_folder(config, folder):
    config.save_pretrained(folder)
    return AutoGazeConfig.from_pretrained(folder)


COPIES = {
    "save and load": through_a_folder,
    "deepcopy": lambda config, folder: copy.deepcopy(config),
    "pickle": lambda config, folder: pickle.loads(pickle.dumps(config)),
    "to_dict": lambda config, folder: AutoGazeConfig(**config.to_dict()),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_what_is_set_on_nested_parts_survives_and_builds_the_model(config, copied, tmp_path):
    config.gaze_model_config.gaze_decoder_config.num_hidden_layers = 3
    config.gaze_model_config.vision_model_config.depth = 2
    config.gaze_model_config["note"] = {"of": ["ours"]}
    config.task_loss_requirement_config.fixed.task_loss_requirement = 0.4
    config.gaze_model_config.some_future_part = {"size": 7}
    kept = copied(config, tmp_path)
    assert kept.gaze_model_config.note.of == ["ours"]
    assert kept.gaze_model_config.some_future_part.size == 7
    assert kept.task_loss_requirement_config["fixed"]["task_loss_requirement"] == 0.4
    assert kept.to_dict() == config.to_dict()
    model = AutoGaze(kept)
    assert (model.arch.layers, model.arch.vision_depth) == (3, 2)
    assert len(model.gazing_model.gaze_decoder.model.layers) == 3


def test_a_copy_is_not_changed_with_its_original(config):
    copied = copy.deepcopy(config)
    copied.gaze_model_config.gaze_decoder_config.rope_scaling.factor = 2.0
    assert config.gaze_model_config.gaze_decoder_config.rope_scaling.factor == 8.0
    assert copied.architecture().rope_scaling.factor == 2.0


def test_parts_have_the_released_classes_and_names(config):
    gaze = config.gaze_model_config
    assert type(gaze) is GazeModelConfig
    assert type(gaze.vision_model_config) is VisionModelConfig
    assert type(gaze.connector_config) is ConnectorConfig
    assert type(gaze.gaze_decoder_config) is GazeDecoderConfig
    assert (gaze.gaze_decoder_config.vocab_size, gaze.gaze_decoder_config.eos_token_id) == (266, 265)
    assert gaze.connector_config.num_tokens == 196
    assert gaze.to_dict()["gaze_decoder_config"]["hidden_size"] == 48
    assert json.dumps(config.to_dict())
    with pytest.raises(AttributeError, match="no 'hidden_sizes'"):
        assert gaze.gaze_decoder_config.hidden_sizes
    del gaze.connector_config.hidden_dim
    assert "hidden_dim" not in gaze.connector_config
    with pytest.raises(AttributeError):
        del gaze.connector_config.hidden_dim


def test_what_follows_from_other_settings_follows_them(config, tmp_path):
    config.scales, config.num_vision_tokens_each_frame = "224", 196
    assert config.gaze_model_config.gaze_decoder_config.vocab_size == 197
    assert through_a_folder(config, tmp_path).architecture().vocabulary == 197
    config.gaze_model_config = {"vision_model_config": {"out_dim": 192}}
    assert config.gaze_model_config.gaze_decoder_config.hidden_size == 192


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("gaze_decoder_config", "vocab_size", 300),
        ("gaze_decoder_config", "hidden_act", "gelu"),
        ("gaze_decoder_config", "attention_bias", True),
        ("gaze_decoder_config", "num_key_value_heads", 1),
        ("vision_model_config", "temporal_patch_size", 2),
        ("connector_config", "hidden_dim", 7),
    ],
)
def test_settings_that_ask_for_another_model_are_refused_by_name(config, part, name, value):
    config.gaze_model_config[part][name] = value
    with pytest.raises(InputError, match=f"{name} is {value}"):
        config.architecture()


def test_a_saved_configuration_leaves_nothing_to_the_defaults_of_its_reader(tmp_path):
    AutoGazeConfig().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    gaze = written["gaze_model_config"]
    assert written["scales"] == "32+64+112+224"
    assert written["num_vision_tokens_each_frame"] == gaze["num_vision_tokens_each_frame"] == 265
    assert {"hidden_dim", "out_dim", "depth", "kernel_size"} <= gaze["vision_model_config"].keys()
    assert gaze["connector_config"] == {"hidden_dim": 192, "num_tokens": 196}
    assert {
        "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "rms_norm_eps",
        "rope_theta", "rope_scaling", "max_position_embeddings", "num_multi_token_pred", "vocab_size",
        "eos_token_id",
    } <= gaze["gaze_decoder_config"].keys()  # fmt: skip


def test_configurations_are_equal_when_all_of_their_keys_are() -> None:
    assert AutoGazeConfig() == AutoGazeConfig()
    assert AutoGazeConfig() != AutoGazeConfig(max_num_frames=3)
    changed = AutoGazeConfig()
    changed.gaze_model_config.gaze_decoder_config.rms_norm_eps = 1e-3
    assert changed != AutoGazeConfig()
