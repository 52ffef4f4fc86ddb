"""A reconstructor that is built from published networks has their weights when it is first used, unless a
state dict brought others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from autogaze.errors import BackendUnavailable, InputError
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.modeling_video_mae import ViTMAEForPreTraining
from tests.reference.fill import clip, fill
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, TINY, gaze, reconstructor

VIT = {name: value for name, value in TINY.items() if name != "max_num_frames"}
SETTINGS = {
    "scale_embed": True,
    "time_embed": True,
    "causal": True,
    "max_num_frames": 8,
    "loss_type": "l1+dinov2_reg+siglip2",
    "loss_weights": "1+0.3+0.3",
    "l1_loss_config": None,
    "dinov2_reg_loss_config": {"model": "facebook/dinov2-with-registers-base"},
    "siglip2_loss_config": {"model": "google/siglip2-base-patch16-224"},
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The published networks, small and seeded, under their hub ids in the working directory."""
    import transformers

    monkeypatch.chdir(tmp_path)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    networks = {
        "facebook/vit-mae-large": transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**VIT)),
        "facebook/dinov2-with-registers-base": transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**ALL_LOSSES["dinov2_reg_loss_config"]["architecture"])
        ),
        "google/siglip2-base-patch16-224": transformers.SiglipModel(
            transformers.SiglipConfig(
                text_config=text | {"vocab_size": 20, "bos_token_id": 1, "eos_token_id": 2},
                vision_config=ALL_LOSSES["siglip2_loss_config"]["architecture"],
            )
        ),
    }
    for seed, (name, network) in enumerate(networks.items()):
        fill(network, seed)
        network.save_pretrained(name)
    return networks


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub can be reached."""

    def refuse(hub_id: str, *rest: Any) -> Path:
        raise InputError(f"checkpoint {hub_id} is neither a folder here nor on the hub")

    monkeypatch.setattr("autogaze.hub._download", refuse)


def released(**settings: Any) -> VideoMAEReconstruction:
    """Built as released code does, from an OmegaConf configuration."""
    return VideoMAEReconstruction(
        recon_model="facebook/vit-mae-large",
        recon_model_config=OmegaConf.create(SETTINGS | settings),
        scales="32+64+112+224",
        recon_sample_rate=1,
        attn_mode="sdpa",
    )


def run(task: VideoMAEReconstruction) -> Tensor:
    with torch.no_grad():
        output = task.forward_output({"video_for_task": clip(3, 1, 2)}, gaze([3, 2]), [0, 1])
    loss: Tensor = output["reconstruction_loss"]
    return loss


def test_weights_are_those_of_the_published_networks(hub: dict[str, Any]) -> None:
    task = released()
    state = task.state_dict()
    written = load_file("facebook/vit-mae-large/model.safetensors")
    assert any("decoder_layers" in name or "decoder_encoder" in name for name in written)
    for name, tensor in written.items():
        own = name.replace("decoder_encoder.layer", "decoder_layers")  # transformers 5 writes the former
        assert torch.equal(state[f"mae.{own}"], tensor), name
    dino = hub["facebook/dinov2-with-registers-base"].layernorm.weight
    assert torch.equal(state["mae.dinov2_reg.layernorm.weight"], dino)
    siglip = hub["google/siglip2-base-patch16-224"].vision_model.post_layernorm.bias
    assert torch.equal(state["mae.siglip2.vision_model.post_layernorm.bias"], siglip)
    assert 0 < float(state["mae.vit.embeddings.time_embed"].std()) < 0.1
    assert task.scales == [32, 64, 112, 224]
    assert (task.transform.image_mean, task.mae.attn_implementation) == ([0.485, 0.456, 0.406], "sdpa")
    assert task.gaze_model_kwargs == {"target_scales": [32, 64, 112, 224], "target_patch_size": 16}


def test_the_first_use_fetches_them(hub: dict[str, Any]) -> None:
    used, looked_at = released(), released()
    looked_at.load_state_dict(used.state_dict())
    fresh = released()
    for name in ("vit.embeddings.scale_embed", "vit.embeddings.time_embed"):
        fresh.mae.get_parameter(name).data.copy_(used.mae.get_parameter(name))
    for name in ("decoder.decoder_scale_embed", "decoder.time_embed"):
        fresh.mae.get_parameter(name).data.copy_(used.mae.get_parameter(name))
    assert torch.equal(run(fresh), run(looked_at))


def test_what_a_state_dict_brings_whole_is_never_fetched(offline: None) -> None:
    settings = TINY | ALL_LOSSES
    original = reconstructor(**ALL_LOSSES)
    task = VideoMAEReconstruction("facebook/vit-mae-large", settings, "32+64+112+224", 1, "sdpa")
    missing, unexpected = task.load_state_dict(original.state_dict(), strict=False)
    assert (missing, unexpected) == ([], [])
    assert torch.equal(run(task.eval()), run(original))


def test_what_a_state_dict_brings_in_part_goes_over_the_published_weights(hub: dict[str, Any]) -> None:
    task = released()
    task.load_state_dict({"mae.vit.layernorm.bias": torch.full((16,), 7.0)}, strict=False)
    state = task.state_dict()
    assert state["mae.vit.layernorm.bias"].unique().tolist() == [7.0]
    weight = hub["facebook/vit-mae-large"].vit.layernorm.weight
    assert torch.equal(state["mae.vit.layernorm.weight"], weight)


def test_weights_that_cannot_be_had_are_missed_at_the_first_use(offline: None) -> None:
    task = VideoMAEReconstruction("facebook/vit-mae-large", TINY, "32+64+112+224", 1, "sdpa")
    for use in (run, VideoMAEReconstruction.state_dict):
        with pytest.raises(
            InputError, match=r"facebook/vit-mae-large .*; or give it all of its weights with"
        ):
            use(task)


def test_published_weights_of_another_size_are_refused(hub: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"facebook/vit-mae-large does not fit .* of another shape"):
        run(released(hidden_size=32))


def test_a_saved_reconstructor_brings_its_loss_networks_along(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = reconstructor(**ALL_LOSSES).mae
    original.save_pretrained(tmp_path)
    again = ViTMAEForPreTraining.from_pretrained(tmp_path)
    for name, tensor in original.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_frames_are_drawn_where_a_share_is_asked_for(hub: dict[str, Any]) -> None:
    task = released()
    task.recon_sample_rate = 0.5
    torch.manual_seed(3)
    expected = torch.randperm(4)[:2].tolist()
    torch.manual_seed(3)
    with torch.no_grad():
        output = task.forward_output({"video_for_task": clip(3, 1, 4)}, gaze([1, 1, 1, 1]))
    assert output["frame_idx_to_reconstruct"].tolist() == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"recon_model": "facebook/vit-mae-larg"}, "did you mean 'vit-mae-large'"),
        (
            {"recon_model_config": {"hiden_size": 8}},
            "key of recon_model_config 'hiden_size': did you mean 'hidden_size'",
        ),
        ({"recon_model_config": {"qkv_bias": False}}, "qkv_bias in recon_model_config is False"),
        ({"attn_mod": "sdpa"}, "argument of VideoMAEReconstruction 'attn_mod': did you mean 'attn_mode'"),
        (
            {"recon_model_config": SETTINGS, "attn_mode": "flash"},
            "unknown attn_mode 'flash': known are eager, flash_attention_2",
        ),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_by_name(arguments: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"recon_model": "facebook/vit-mae-large", "scales": "32+224"} | arguments
    with pytest.raises(InputError, match=sentence):
        VideoMAEReconstruction(**given)


def test_flash_attention_that_is_not_there_is_refused_with_the_cure(
    hub: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: False)
    with pytest.raises(BackendUnavailable, match="sdpa computes the same"):
        VideoMAEReconstruction("facebook/vit-mae-large", SETTINGS, "32+224", 1, "flash_attention_2")


def test_the_attention_of_loss_networks_is_the_one_asked_for(hub: dict[str, Any]) -> None:
    task = VideoMAEReconstruction("facebook/vit-mae-large", SETTINGS, "32+224", 1, "eager")
    networks = [task.mae.get_submodule(loss) for loss in ("dinov2_reg", "siglip2")]
    assert [network.config._attn_implementation for network in networks] == ["eager", "eager"]


def test_a_configuration_and_released_arguments_do_not_go_together() -> None:
    config = reconstructor().config
    with pytest.raises(InputError, match=r"recon_model_config 'eager' .* attn_implementation"):
        VideoMAEReconstruction(config, "eager")  # type: ignore[arg-type]
