"""A checkpoint loads to the last key or not at all, and nothing in a file is ever executed."""

import os
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from autogaze.checkpoints import (
    PINNED_REVISIONS,
    CheckpointConfig,
    load_strict,
    read_json,
    read_state,
    resolve,
    state_hash,
)
from autogaze.datasets.batches import collate, to_inputs
from autogaze.datasets.synthetic import SyntheticVideos
from autogaze.embedded import load_reconstructor
from autogaze.embedded.reconstructor import seeded_reconstructor
from autogaze.errors import InputError
from autogaze.selectors import SELECTORS
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, TINY, reconstructor

EMBEDDINGS = [
    "mae.vit.embeddings.scale_embed",
    "mae.vit.embeddings.time_embed",
    "mae.decoder.decoder_scale_embed",
    "mae.decoder.time_embed",
]


def released_folder(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """Write a folder in the released layout around a state dict of a tiny task."""
    task = {
        "recon_model": "facebook/vit-mae-large",
        "recon_model_config": TINY | ALL_LOSSES,
        "scales": "32+64+112+224",
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"task": task}))
    torch.save(
        OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()), folder / "videomae.pt"
    )
    return folder


def test_a_released_file_loads_with_its_prefix_and_its_loss_networks(tmp_path: Path) -> None:
    original = reconstructor(**ALL_LOSSES)
    names = list(original.state_dict())
    assert "mae.dinov2_reg.encoder.layer.0.attention.attention.query.weight" in names
    assert "mae.dinov2_reg.encoder.layer.0.attention.output.dense.weight" in names
    assert "mae.siglip2.vision_model.encoder.layers.0.self_attn.q_proj.weight" in names
    loaded = VideoMAEReconstruction.from_checkpoint(released_folder(tmp_path, original.state_dict()))
    assert state_hash(loaded) == state_hash(original)
    assert not loaded.training
    assert loaded.config.trained


def test_loss_networks_that_are_not_wanted_stay_in_the_file(tmp_path: Path) -> None:
    original = reconstructor(**ALL_LOSSES)
    folder = released_folder(tmp_path, original.state_dict())
    loaded = VideoMAEReconstruction.from_checkpoint(folder, loss_type="l1", attn_implementation="eager")
    assert loaded.mae.attn_implementation == "eager"
    expected = {
        name: x for name, x in original.state_dict().items() if name.startswith(("mae.vit", "mae.decoder"))
    }
    found = loaded.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    state = reconstructor(**ALL_LOSSES).state_dict()
    del state["mae.dinov2_reg.layernorm.weight"]
    with pytest.raises(InputError, match=r"1 missing: mae\.dinov2_reg\.layernorm\.weight\)"):
        VideoMAEReconstruction.from_checkpoint(released_folder(tmp_path, state))


def test_an_unexpected_key_is_named(tmp_path: Path) -> None:
    state = reconstructor(**ALL_LOSSES).state_dict() | {"mae.vit.embeddings.colour_embed": torch.zeros(1)}
    with pytest.raises(InputError, match=r"1 unexpected: mae\.vit\.embeddings\.colour_embed\)"):
        VideoMAEReconstruction.from_checkpoint(released_folder(tmp_path, state))


def test_missing_scale_and_time_embeddings_are_all_named(tmp_path: Path) -> None:
    state = {
        name: x for name, x in reconstructor(**ALL_LOSSES).state_dict().items() if name not in EMBEDDINGS
    }
    with pytest.raises(InputError, match="4 missing") as refusal:
        VideoMAEReconstruction.from_checkpoint(released_folder(tmp_path, state))
    assert all(name in str(refusal.value) for name in EMBEDDINGS)


def test_a_key_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    state = reconstructor(**ALL_LOSSES).state_dict()
    state["mae.vit.embeddings.time_embed"] = torch.zeros(4, 16)
    with pytest.raises(
        InputError, match=r"1 of another shape: mae\.vit\.embeddings\.time_embed \(4, 16\) for \(8, 16\)"
    ):
        VideoMAEReconstruction.from_checkpoint(released_folder(tmp_path, state))


def test_ten_keys_are_named_and_the_rest_counted() -> None:
    module = nn.Linear(1, 1)
    before = state_hash(module)
    extra = {f"extra{index:02}": torch.zeros(1) for index in range(13)}
    with pytest.raises(InputError, match=r"13 unexpected: extra00, .*extra09 and 3 more") as refusal:
        load_strict(module, dict(module.state_dict()) | extra, "weights.pt")
    assert "extra10" not in str(refusal.value)
    assert state_hash(module) == before


def test_our_own_layout_makes_the_round_trip(tmp_path: Path) -> None:
    original = reconstructor(**ALL_LOSSES, note="kept")
    original.save(tmp_path / "saved")
    loaded = VideoMAEReconstruction.from_checkpoint(tmp_path / "saved")
    assert loaded.config == original.config
    assert state_hash(loaded) == state_hash(original)
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_a_damaged_configuration_is_refused(tmp_path: Path) -> None:
    reconstructor().save(tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_size": ')
    with pytest.raises(InputError, match=r"config\.json is not a JSON file"):
        VideoMAEReconstruction.from_checkpoint(tmp_path)


def test_saving_where_a_file_is_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        reconstructor().save(tmp_path / "file" / "folder")


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "attack": Attack(tmp_path / "owned")}, tmp_path / "videomae.pt")
    with pytest.raises(InputError, match="holds more than tensors"):
        read_state(tmp_path / "videomae.pt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 not weights at all")
    with pytest.raises(InputError, match="cannot be read"):
        read_state(tmp_path / name)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_state(tmp_path / name)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="no plain state dict"):
        read_state(tmp_path / "weights.pt")


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(pickle.dumps({"attack": Attack(tmp_path / "owned")}, protocol=2))
    with pytest.raises(InputError, match="holds more than tensors"):
        read_state(tmp_path / "weights.pt")
    assert not (tmp_path / "owned").exists()


def test_a_folder_resolves_to_itself(tmp_path: Path) -> None:
    assert resolve(tmp_path, None, ("config.json",)) == tmp_path


@pytest.mark.parametrize("source", ["/no/such/folder", "./missing", "missing", "a/b/c"])
def test_a_folder_that_does_not_exist_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="does not exist; name a folder, or a hub id"):
        resolve(source, None, ())


def test_a_file_is_no_checkpoint_folder(tmp_path: Path) -> None:
    (tmp_path / "videomae.pt").touch()
    with pytest.raises(InputError, match="name the folder that holds it"):
        resolve(tmp_path / "videomae.pt", None, ())


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("bfshi/VideoMAE_AutoGaze", None, PINNED_REVISIONS["bfshi/VideoMAE_AutoGaze"]),
        ("bfshi/VideoMAE_AutoGaze", "main", "main"),
        ("someone/else", None, None),
    ],
)
def test_a_hub_id_is_fetched_at_its_pinned_revision(
    source: str, revision: str | None, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fetch(hub_id: str, **named: Any) -> str:
        asked.update(named, hub_id=hub_id)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert resolve(source, revision, ("config.yaml", "videomae.pt")) == tmp_path
    assert asked == {"hub_id": source, "revision": expected, "allow_patterns": ["config.yaml", "videomae.pt"]}


def test_an_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(hub_id: str, **named: Any) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    with pytest.raises(
        InputError, match=r"nvidia/AutoGaze at revision 5100fae.*\(ConnectionError\); check name"
    ):
        resolve("nvidia/AutoGaze", None, ())


def test_a_folder_without_a_reconstructor_lists_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "videomae.pt").touch()
    with pytest.raises(
        InputError, match=r"holds videomae\.pt; a reconstructor is config\.yaml and videomae\.pt"
    ):
        VideoMAEReconstruction.from_checkpoint(tmp_path)


def test_the_embedded_reconstructor_is_small_and_trained() -> None:
    task, untrained = load_reconstructor(None)[0], seeded_reconstructor()
    assert task.config.trained
    assert sum(parameter.numel() for parameter in task.parameters()) <= 12_000_000
    assert {parameter.dtype for parameter in task.parameters()} == {torch.float32}
    clips = SyntheticVideos("val", "held_out", clip_len=4)
    video = to_inputs(collate([clips[0], clips[1]]), torch.device("cpu"))

    def loss(task: VideoMAEReconstruction, ratio: float) -> float:
        gaze = SELECTORS["uniform"](0)(
            video["video"], [round(ratio * task.config.grid.patches_per_frame)] * 4
        )
        with torch.inference_mode():
            return float(task.forward_output(video, gaze)["reconstruction_loss"].mean())

    ratios = (0.02, 0.1, 0.5)
    losses = [loss(task, ratio) for ratio in ratios]
    assert losses == sorted(losses, reverse=True)
    assert all(trained < loss(untrained, ratio) for trained, ratio in zip(losses, ratios, strict=True))


def test_a_seeded_reconstructor_is_the_same_everywhere() -> None:
    task = seeded_reconstructor()
    assert not task.config.trained
    weights = task.mae.vit.encoder.layer[0].intermediate.dense.weight[0, :3]
    torch.testing.assert_close(weights, torch.tensor([0.0206526, 0.0098468, 0.0020361]), atol=1e-6, rtol=0)


def test_the_hash_changes_with_names_shapes_and_values() -> None:
    base = nn.Linear(2, 3)
    renamed, reshaped, changed = nn.Module(), nn.Linear(3, 2), nn.Linear(2, 3)
    renamed.w, renamed.bias = base.weight, base.bias
    changed.load_state_dict(base.state_dict())
    assert state_hash(changed) == state_hash(base)
    with torch.no_grad():
        changed.bias[0] += 1
        reshaped.weight.copy_(base.weight.view(2, 3))
    assert len({state_hash(module) for module in (base, renamed, reshaped, changed)}) == 4
    assert state_hash(base.to(torch.bfloat16)) != state_hash(changed)


@dataclass(frozen=True, kw_only=True)
class Example(CheckpointConfig):
    width: int = 4
    scales: str = "32"
    mean: tuple[float, ...] = (0.5,)


def test_values_take_the_form_of_their_defaults() -> None:
    values = {"width": None, "scales": 64, "mean": [0.1, 0.2], "colour": "red"}
    config = Example.from_dict(values)
    assert (config.width, config.scales, config.mean) == (4, "64", (0.1, 0.2))
    assert config.extra == {"colour": "red"}
    assert config.to_dict() == {"colour": "red", "width": 4, "scales": "64", "mean": [0.1, 0.2]}
    assert values == {"width": None, "scales": 64, "mean": [0.1, 0.2], "colour": "red"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "holds no config.json"), ("{", "is not a JSON file"), ("[1]", "holds a list; a JSON object")],
)
def test_a_file_without_an_object_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_json(path)
