import json
import sys

import pytest
import yaml

from autogaze.errors import InputError
from autogaze.train import CONFIGS, compose, main
from autogaze.training.settings import read_settings

NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
TINY = (
    "trainer.batch_size=2",
    "trainer.device=cpu",
    "dataset.clip_len=2",
    "dataset.train_length=4",
    "dataset.val_length=1",
    "model.gazing_ratio_each_frame_config.dirichlet.alpha='2,1'",
    "task.validation_ratios=[0.05]",
    *(
        f"+task.recon_model_config.{name}={value}"
        for name, value in {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "decoder_hidden_size": 16,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 16,
        }.items()
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_is_complete(name):
    settings = read_settings(compose(name))
    assert settings.trainer.exp_name == name
    assert settings.trainer.batch_size % settings.trainer.per_gpu_max_batch_size == 0


def test_the_released_names_are_there():
    assert {f"video_folder_video_mae_reconstruction_ar_gaze_{stage}" for stage in ("ntp", "grpo")} <= set(
        NAMES
    )


def test_a_run_from_the_command_line_trains_logs_and_goes_on(tmp_path, capsys):
    command = [
        "--config-name",
        "synthetic_video_mae_reconstruction",
        *TINY,
        f"trainer.logdir={tmp_path}",
        "trainer.exp_name=tiny",
    ]
    assert main([*command, "trainer.n_epochs=1"]) == 0
    assert main([*command, "trainer.n_epochs=2"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2, 3, 4, 4]
    told = " ".join(capsys.readouterr().err.split())
    assert "tiny stands at step 2" in told
    assert main([*command, "trainer.n_epochs=2"]) == 0
    assert "tiny has reached its end; another run needs another trainer.exp_name" in " ".join(
        capsys.readouterr().err.split()
    )


def test_show_prints_the_configuration_and_trains_nothing(capsys, tmp_path):
    assert main(["--config-name", NAMES[0], "--show", f"trainer.logdir={tmp_path}"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown == compose(NAMES[0], [f"trainer.logdir={tmp_path}"])
    assert not list(tmp_path.iterdir())


def test_a_folder_of_own_configurations_can_build_on_the_ones_here(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "defaults: [synthetic_video_mae_reconstruction, _self_]\ntrainer: {lr: 0.5, exp_name: mine}\n"
    )
    assert compose("mine", config_dir=tmp_path)["trainer"]["lr"] == 0.5


def test_a_folder_of_own_configurations_may_have_any_name(tmp_path):
    folder = tmp_path / "it's a (b), c=d"
    (folder / "trainer").mkdir(parents=True)
    (folder / "trainer" / "slow.yaml").write_text("defaults: [default, _self_]\nmin_lr: 0.25\n")
    name = "synthetic_video_mae_reconstruction"
    assert compose(name, ["trainer=slow"], folder)["trainer"]["min_lr"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config-name", "synthetic_video_mae"], "did you mean 'synthetic_video_mae_reconstruction'"),
        (["--config-name", NAMES[0], "trainer.learning_rate=1"], "learning_rate"),
        (["--config-name", NAMES[0], "dataset.vdeo_ext=mp4"], "has no key dataset.vdeo_ext; look at --show"),
        (
            ["--config-name", NAMES[0], "dataset.root=größe"],
            "dataset.root=größe is not group.key=value; text with other signs",
        ),
        (["--config-name", NAMES[0], "trainer=fast"], "fast"),
        (["--config-name", NAMES[0], "trainer.lr="], "trainer.lr"),
        (["--config-name", NAMES[0], "trainer.exp_name=a=b"], "trainer.exp_name=a=b is not group.key=value"),
        (["--config-name", NAMES[0], "no override"], "no override is not group.key=value"),
        (["--config-name", NAMES[0], "--config-dir", "nowhere"], "--config-dir nowhere is not a folder"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line_with_exit_code_2(arguments, message, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed
    assert printed.count("\n") == 1


def test_without_hydra_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(InputError, match=r"pip install 'autogaze-bench\[train\]'"):
        compose(NAMES[0])
