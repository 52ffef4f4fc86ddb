"""Loading, saving, the call, and its refusals."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig, GazeOutput
from tests.reference.cases import gaze_model, load
from tests.reference.fill import clip


@pytest.fixture
def folder(tmp_path):
    gaze_model("tiny", 11).save_pretrained(tmp_path)
    return tmp_path


def change_weights(folder, change):
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


def test_a_saved_model_loads_with_the_same_weights_and_config(folder):
    loaded = AutoGaze.from_pretrained(folder)
    original = gaze_model("tiny", 11)
    assert not loaded.training
    assert loaded.config.architecture() == original.config.architecture()
    for (name, ours), (other, theirs) in zip(loaded.state_dict().items(), original.state_dict().items()):
        assert name == other
        assert torch.equal(ours, theirs)


def test_the_full_size_model_has_the_released_number_of_parameters():
    model = AutoGaze(AutoGazeConfig(**load("gaze")["configs"]["full"]))
    assert sum(p.numel() for p in model.parameters()) == 3_258_240


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s.pop("gazing_model.connector.pos_embed"),
            "1 missing: gazing_model.connector.pos_embed",
        ),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (
            lambda s: s.update({"gazing_model.connector.pos_embed": torch.zeros(7, 48)}),
            "1 of another shape: gazing_model.connector.pos_embed",
        ),
    ],
)
def test_a_checkpoint_must_fit_key_by_key(folder, change, words):
    change_weights(folder, change)
    with pytest.raises(InputError, match=words):
        AutoGaze.from_pretrained(folder)


def test_a_folder_without_weights_is_refused_in_a_sentence(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"cannot be loaded.*config\.json and model\.safetensors"):
        AutoGaze.from_pretrained(folder)


def test_at_most_ten_keys_are_named(folder):
    change_weights(folder, lambda s: [s.pop(k) for k in list(s) if "layers" in k])
    with pytest.raises(InputError, match=r"and 8 more"):
        AutoGaze.from_pretrained(folder)


def test_the_callers_config_is_not_changed_and_unknown_keys_are_kept(tmp_path):
    given = copy.deepcopy(load("gaze")["configs"]["tiny"])
    given["some_future_key"] = {"a": [1, 2]}
    given["gaze_model_config"]["another"] = 3
    before = copy.deepcopy(given)
    config = AutoGazeConfig(**given)
    config.save_pretrained(tmp_path)
    assert given == before
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["some_future_key"] == {"a": [1, 2]}
    assert written["gaze_model_config"]["another"] == 3
    assert AutoGazeConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_nested_config_reads_by_attribute():
    config = AutoGazeConfig(**load("gaze")["configs"]["tiny"])
    assert config.gaze_model_config.gaze_decoder_config.num_multi_token_pred == 10
    assert config.gaze_model_config.vision_model_config.kernel_size == 16


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_vision_tokens_each_frame": 100}, "100.*265"),
        ({"scales": "32+sixty"}, "side lengths in pixels"),
        ({"scales": "8+224"}, "patch size 16"),
    ],
)
def test_a_config_that_does_not_fit_together_is_refused(changes, words):
    config = AutoGazeConfig(**{**load("gaze")["configs"]["tiny"], **changes})
    with pytest.raises(InputError, match=words):
        config.architecture()


def test_the_output_reads_by_key_and_by_attribute():
    with torch.inference_mode():
        output = gaze_model("tiny", 11)({"video": clip(1, 1, 2)}, gazing_ratio=0.02)
    assert isinstance(output, GazeOutput)
    assert output["gazing_pos"] is output.gazing_pos
    assert "num_gazing_each_frame" in output
    assert {**output}["scales"] == [32, 64, 112, 224]
    with pytest.raises(KeyError):
        output["gazing_position"]


VIDEO = clip(2, 2, 3)
NAN = VIDEO.clone()
NAN[0, 1, 2, 3, 4] = float("nan")
INF = VIDEO.clone()
INF[1, 0, 0, 0, 0] = float("inf")


@pytest.mark.parametrize(
    ("video", "kwargs", "words"),
    [
        (VIDEO[0], {}, r"shape \[3, 3, 224, 224\]"),
        (VIDEO[:, :, :1], {}, "shape"),
        (VIDEO[:0], {}, "shape"),
        ((VIDEO * 10).byte(), {}, "uint8"),
        (None, {}, "video"),
        (NAN, {}, "not finite"),
        (INF, {}, "not finite"),
        (VIDEO, {"gazing_ratio": 1.2}, r"1\.2 lies outside \[0, 1\]"),
        (VIDEO, {"gazing_ratio": -0.1}, r"-0\.1 lies outside"),
        (VIDEO, {"gazing_ratio": float("nan")}, "outside"),
        (VIDEO, {"gazing_ratio": [0.1, 0.2]}, "one for each of 3 frames"),
        (VIDEO, {"task_loss_requirement": [0.1, 0.2, 0.3, 0.4]}, "one for each of 3 frames"),
        (VIDEO, {"task_loss_requirement": float("nan")}, "nan"),
        (VIDEO, {"target_scales": [56, 112, 196, 392]}, "go together"),
        (VIDEO, {"target_scales": [56, 112, 196, 392], "target_patch_size": 14}, "224x224"),
        (VIDEO, {"target_scales": [112, 224], "target_patch_size": 16}, "2 scales"),
        (VIDEO, {"max_batch_size": 0}, "max_batch_size 0"),
    ],
)
def test_input_that_cannot_be_used_is_refused_in_a_sentence(video, kwargs, words):
    with pytest.raises(InputError, match=words):
        gaze_model("tiny", 11)({"video": video}, **{"gazing_ratio": 0.02, **kwargs})


@pytest.mark.parametrize("strategy", ["fixed", "uniform", "exponential"])
@pytest.mark.parametrize("each_frame", ["uniform", "dirichlet", "self"])
def test_without_ratio_and_requirement_the_configs_strategies_decide(strategy, each_frame):
    torch.manual_seed(0)
    config = load("gaze")["configs"]["tiny"] | {
        "gazing_ratio_config": {
            "sample_strategy_during_inference": strategy,
            "fixed": {"gazing_ratio": 0.1},
            "uniform": {"gazing_ratio_min": 0.05, "gazing_ratio_max": 0.15},
            "exponential": {"gazing_ratio_min": 0.05, "gazing_ratio_max": 0.15, "lambda": 10},
        },
        "gazing_ratio_each_frame_config": {
            "sample_strategy_during_inference": each_frame,
            "uniform": {},
            "dirichlet": {"alpha": "10,3,3"},
            "self": {},
        },
    }
    model = AutoGaze(AutoGazeConfig(**config)).eval()
    with torch.inference_mode():
        gazes = model({"video": VIDEO}).gazes_each_frame()
    if each_frame != "self":
        assert int(0.04 * 265 * 3) <= int(gazes[0].sum()) <= int(0.16 * 265 * 3)
    assert (gazes >= 1).all()
