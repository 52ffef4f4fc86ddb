"""Plain SigLIP checkpoints load to the last key, whoever wrote them and whatever else they hold."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autogaze.errors import InputError
from autogaze.vision_encoders.siglip import SiglipVisionModel
from tests.reference.fill import clip
from tests.vision_encoders.siglip.checkpoints import TINY, with_prefix


@pytest.fixture(scope="module")
def theirs() -> Any:
    """transformers' model of pictures and texts."""
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    text = TINY | {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=TINY)).eval()


@pytest.fixture
def folder(theirs: Any, tmp_path: Path) -> Path:
    """A checkpoint of both models."""
    theirs.save_pretrained(tmp_path)
    return tmp_path


def test_the_vision_part_of_a_full_checkpoint_is_loaded(theirs: Any, folder: Path) -> None:
    model = SiglipVisionModel.from_pretrained(folder)
    expected = with_prefix(theirs.vision_model.state_dict())
    found = model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not model.training
    assert model.config.grid.scales == (224,)


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_a_vision_model_alone_is_loaded_with_and_without_prefix(
    theirs: Any, tmp_path: Path, prefix: str
) -> None:
    state = {
        prefix + name.removeprefix("vision_model."): tensor.contiguous()
        for name, tensor in theirs.vision_model.state_dict().items()
    }
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"model_type": "siglip_vision_model"}))
    found = SiglipVisionModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in with_prefix(state).items())


def test_weights_in_several_files_are_put_together(folder: Path) -> None:
    whole = SiglipVisionModel.from_pretrained(folder).state_dict()
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(state)}
    for shard in set(shards.values()):
        save_file({name: state[name] for name in state if shards[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    found = SiglipVisionModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_settings_replace_the_configuration_and_survive_saving(folder: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"scales": "32+224", "attn_type": "causal", "max_embed_batch_size": 4}
    model = SiglipVisionModel.from_pretrained(folder, attn_implementation="eager", **settings)
    assert model.attn_implementation == "eager"
    model.save_pretrained(tmp_path / "ours")
    again = SiglipVisionModel.from_pretrained(tmp_path / "ours", attn_implementation="eager")
    assert again.config == model.config
    assert (again.config.scales, again.config.attn_type) == ("32+224", "causal")
    video = clip(1, 1, 2)
    with torch.no_grad():
        assert torch.equal(again(video).last_hidden_state, model(video).last_hidden_state)


def test_what_is_set_on_a_models_configuration_survives_saving(folder: Path, tmp_path: Path) -> None:
    model = SiglipVisionModel.from_pretrained(folder)
    model.config.scales = "112+224"
    model.config._attn_implementation = "eager"
    model.save_pretrained(tmp_path / "ours")
    again = SiglipVisionModel.from_pretrained(tmp_path / "ours")
    assert (again.scales, again.attn_implementation) == ([112, 224], "eager")
    assert again.config == model.config
    explicit = SiglipVisionModel.from_pretrained(tmp_path / "ours", attn_implementation="sdpa")
    assert explicit.attn_implementation == "sdpa"


def test_a_folder_that_this_project_once_saved_with_empty_scales_is_read(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())["vision_config"]
    (folder / "config.json").write_text(json.dumps(values | {"scales": ""}))
    assert SiglipVisionModel.from_pretrained(folder).scales == [224]


def test_a_configuration_and_a_type_can_be_given_to_the_loader(folder: Path) -> None:
    from autogaze.vision_encoders.siglip import SiglipVisionConfig

    config = SiglipVisionConfig.from_pretrained(folder, scales="32+224")
    model = SiglipVisionModel.from_pretrained(folder, config=config, torch_dtype=torch.bfloat16)
    assert (model.scales, model.dtype, model.device.type) == ([32, 224], torch.bfloat16, "cpu")
    assert SiglipVisionModel.from_pretrained(folder, dtype="float64").dtype == torch.float64


def test_transformers_auto_model_loads_the_encoder_where_its_configuration_is_given(folder: Path) -> None:
    import transformers

    from autogaze.vision_encoders.siglip import SiglipVisionConfig

    config = SiglipVisionConfig.from_pretrained(folder, scales="32+224")
    found = transformers.AutoModel.from_pretrained(folder, config=config)
    assert isinstance(found, SiglipVisionModel)
    assert found.scales == [32, 224]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"device_map": "cuda"}, r"device_map='cuda' .* does not take; call \.to\(device\)"),
        ({"local_files_only": True}, "HF_HUB_OFFLINE=1"),
        ({"dtype": "int8"}, "'int8' is no floating type"),
    ],
)
def test_arguments_of_transformers_loaders_that_cannot_be_had_are_refused_with_the_cure(
    folder: Path, setting: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        SiglipVisionModel.from_pretrained(folder, **setting)


def test_what_is_saved_is_read_by_transformers(theirs: Any, folder: Path, tmp_path: Path) -> None:
    import transformers

    SiglipVisionModel.from_pretrained(folder).save_pretrained(tmp_path / "ours")
    found = transformers.SiglipVisionModel.from_pretrained(tmp_path / "ours").state_dict()
    expected = with_prefix(theirs.vision_model.state_dict())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in with_prefix(found).items())


def test_a_checkpoint_of_another_patch_size_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"does not fit.*patch_embedding.weight \(32, 3, 16, 16\) for"):
        SiglipVisionModel.from_pretrained(folder, patch_size=14)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_key_without_a_partner_is_refused(folder: Path, change: str) -> None:
    state = load_file(folder / "model.safetensors")
    if change == "missing":
        del state["vision_model.post_layernorm.bias"]
    else:
        state["vision_model.colour"] = torch.zeros(1)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match=f"1 {change}: vision_model"):
        SiglipVisionModel.from_pretrained(folder)


def test_an_unknown_setting_is_refused_with_the_nearest_name(folder: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'scales'"):
        SiglipVisionModel.from_pretrained(folder, scale="224")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds config.json; an encoder is config.json and model.safetens"):
        SiglipVisionModel.from_pretrained(folder)


def test_a_folder_without_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"holds no config.json"):
        SiglipVisionModel.from_pretrained(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        SiglipVisionModel.from_pretrained(tmp_path / "nowhere")
