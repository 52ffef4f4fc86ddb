"""The configuration reads the checkpoints' keys, keeps what it does not know, and refuses nonsense."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from autogaze.errors import InputError
from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.configuration import architecture
from autogaze.tasks.video_mae_reconstruction.released import read_released_config
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, REFERENCE

RELEASED: dict[str, Any] = {
    "model": {"scales": "32+64+112+224"},
    "task": {
        "recon_model": "facebook/vit-mae-large",
        "recon_model_config": {
            "loss_type": "l1+dinov2_reg+siglip2",
            "loss_weights": "1+0.3+0.3",
            "dinov2_reg_loss_config": {"model": "facebook/dinov2-with-registers-base"},
            "siglip2_loss_config": {"model": "google/siglip2-base-patch16-224"},
            "causal": True,
            "scale_embed": True,
            "time_embed": True,
            "max_num_frames": 256,
        },
        "scales": "${model.scales}",
        "recon_sample_rate": 1,
    },
}


def written(folder: Path, tree: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_unknown_keys_survive_a_round_trip() -> None:
    values = REFERENCE["config"] | {"mask_ratio": 0.75, "note": {"a": 1}}
    before = copy.deepcopy(values)
    config = VideoMAEConfig.from_dict(values)
    assert config.extra == {"mask_ratio": 0.75, "note": {"a": 1}}
    assert VideoMAEConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["note"] == {"a": 1}
    assert values == before


def test_the_released_configuration_is_read(tmp_path: Path) -> None:
    config = read_released_config(written(tmp_path, RELEASED))
    assert (config.hidden_size, config.num_hidden_layers, config.decoder_num_hidden_layers) == (1024, 24, 8)
    assert config.losses == {"l1": 1.0, "dinov2_reg": 0.3, "siglip2": 0.3}
    assert config.grid.scales == (32, 64, 112, 224)
    assert config.backbone_architecture("dinov2_reg")["image_size"] == 518
    assert config.backbone_architecture("siglip2")["hidden_act"] == "gelu_pytorch_tanh"


def test_the_defaults_are_the_released_sizes() -> None:
    sizes = architecture("facebook/vit-mae-large")
    assert sizes.items() <= VideoMAEConfig().to_dict().items()


def test_an_architecture_that_is_not_kept_is_refused(tmp_path: Path) -> None:
    tree = copy.deepcopy(RELEASED)
    tree["task"]["recon_model"] = "facebook/vit-mae-huge"
    with pytest.raises(InputError, match="did you mean 'vit-mae-large'"):
        read_released_config(written(tmp_path, tree))


@pytest.mark.parametrize(
    "tree", [{"model": {}}, [1], {"task": {"recon_model": "facebook/vit-mae-large"}}], ids=str
)
def test_a_file_without_the_task_is_refused(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(InputError, match=r"lacks task\..*scales"):
        read_released_config(written(tmp_path, tree))


def test_a_reference_to_nothing_is_refused(tmp_path: Path) -> None:
    tree = copy.deepcopy(RELEASED)
    tree["task"]["scales"] = "${model.sizes}"
    with pytest.raises(InputError, match=r"refers to \$\{model.sizes\}"):
        read_released_config(written(tmp_path, tree))


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task: [1")
    with pytest.raises(InputError, match="not a YAML file"):
        read_released_config(tmp_path / "config.yaml")


def test_other_losses_keep_their_weights() -> None:
    config = VideoMAEConfig.from_dict(ALL_LOSSES | {"loss_weights": "2+0.5+0.25"})
    assert config.with_losses("siglip2+l1").losses == {"siglip2": 0.25, "l1": 2.0}
    assert VideoMAEConfig().with_losses("l1+siglip2").losses == {"l1": 1.0, "siglip2": 0.3}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"loss_type": "l1+dinov2"}, "did you mean 'dinov2_reg'"),
        ({"loss_type": "l1+siglip2", "loss_weights": "1"}, "must pair up"),
        ({"loss_type": "l1+l1", "loss_weights": "1+1"}, "must pair up"),
        ({"loss_weights": "one"}, "must be numbers"),
        ({"hidden_size": 100, "num_attention_heads": 16}, "hidden_size 100 must be a multiple"),
        ({"decoder_hidden_size": 100}, "decoder_hidden_size 100 must be a multiple"),
        ({"hidden_act": "relu"}, "must be 'gelu'"),
        ({"scales": "32+64"}, "must be the image size, 224"),
        ({"scales": "30+224"}, "multiple of the patch size"),
        ({"scales": "32,224"}, "joined by"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        VideoMAEConfig.from_dict(values)


def test_an_unknown_loss_network_is_refused() -> None:
    config = VideoMAEConfig(siglip2_loss_config={"model": "google/siglip2-large"})
    with pytest.raises(InputError, match="siglip2-base-patch16-224"):
        config.backbone_architecture("siglip2")
