"""What is shipped is what was trained, in half the bytes."""

import json

import pytest
import torch

from autogaze.embedded import export
from autogaze.embedded.reconstructor import seeded_reconstructor
from autogaze.models.autogaze import AutoGaze
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from tests.reference.cases import gaze_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("trained")
    gaze_model("tiny", 3).save_pretrained(folder / "gaze")
    seeded_reconstructor().save(folder / "task")
    return folder


def test_both_models_come_back_in_single_precision_and_nearly_the_same(trained, tmp_path, capsys):
    arguments = ["--gaze", str(trained / "gaze"), "--task", str(trained / "task"), "--out", str(tmp_path)]
    assert export.main(arguments) == 0
    gaze = AutoGaze.from_pretrained(trained / "gaze")
    task = VideoMAEReconstruction.from_checkpoint(trained / "task")
    shipped = VideoMAEReconstruction.from_checkpoint(tmp_path / "reconstructor")
    written = sum(file.stat().st_size for file in tmp_path.glob("*/model.safetensors"))
    numbers = sum(weights.numel() for model in (gaze, task) for weights in model.parameters())
    assert written == pytest.approx(2 * numbers, rel=0.05)
    assert f"{2 * numbers / 2**20:.1f} MiB of weights" in capsys.readouterr().out
    for one, other in zip(shipped.parameters(), task.parameters(), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)
    assert (tmp_path / "gaze" / "preprocessor_config.json").is_file()
    config = (tmp_path / "gaze" / "config.json").read_text()
    assert json.loads(config)["scales"]
    assert str(trained) not in config


def test_one_model_alone_leaves_the_other_as_it_is(trained, tmp_path):
    assert export.main(["--task", str(trained / "task"), "--out", str(tmp_path)]) == 0
    assert [folder.name for folder in tmp_path.iterdir()] == ["reconstructor"]


def test_what_is_too_large_to_ship_is_refused(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "LARGEST_BYTES", 2**20)
    assert export.main(["--task", str(trained / "task"), "--out", str(tmp_path)]) == 2
    assert "at most 1 may be shipped" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_folder_is_refused_without_asking_the_hub(tmp_path, capsys):
    assert export.main(["--gaze", "nosuch", "--out", str(tmp_path)]) == 2
    assert "nosuch does not exist" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused(trained, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert export.main(["--task", str(trained / "task"), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_without_a_model_is_refused(tmp_path, capsys):
    assert export.main(["--task", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "a reconstructor is" in capsys.readouterr().err
