"""The recipe of the embedded pair is commands that the project has."""

import shlex

import pytest

from autogaze.embedded import gaze_checkpoint, recipe
from autogaze.models.autogaze import AutoGazeConfig
from autogaze.train import compose
from autogaze.training.builders import gaze_config
from autogaze.training.settings import read_settings


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    assert recipe.main(["--show", *arguments]) == 0
    return [shlex.split(line.removeprefix("$ python -m ")) for line in capsys.readouterr().out.splitlines()]


def test_it_trains_both_and_exports(capsys: pytest.CaptureFixture[str]) -> None:
    programs = [command[0] for command in shown(capsys)]
    assert programs == [*5 * ["autogaze.train"], "autogaze.embedded.export"]


@pytest.mark.parametrize("number", range(5))
def test_what_it_trains_with_can_be_composed(capsys: pytest.CaptureFixture[str], number: int) -> None:
    _, logdir, _, name, *overrides = shown(capsys, "--scale", "0.01", "--out", "there")[number]
    settings = read_settings(compose(name, [logdir, *overrides]))
    assert settings.trainer.logdir == "there"
    assert settings.dataset.train_length is not None
    least, most = settings.trainer.batch_size, recipe.RECONSTRUCTOR_CLIPS // 100
    assert least <= settings.dataset.train_length <= most


def test_what_one_step_writes_the_next_one_reads(capsys: pytest.CaptureFixture[str]) -> None:
    painter, *rounds, exporter = (" ".join(command) for command in shown(capsys, "--out", "there"))
    assert "--config-name embedded_reconstructor" in painter
    for command in rounds:
        assert "trainer.task_weights=there/embedded_reconstructor/checkpoint_latest_task" in command
    assert "trainer.gaze_weights" not in rounds[0]
    for name, command in zip(recipe.GAZE_CLIPS, [*rounds[1:], exporter], strict=True):
        assert f"there/{name}/checkpoint_latest_gaze" in command


def test_processes_share_the_clips_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    *trainers, _ = (" ".join(command) for command in shown(capsys, "--processes", "2", "--out", "there"))
    launcher = "torch.distributed.run --standalone --nproc-per-node=2 -m autogaze.train"
    assert all(command.startswith(launcher) for command in trainers)


@pytest.mark.parametrize("name", ["embedded_reconstructor", *recipe.GAZE_CLIPS])
def test_every_batch_can_be_shared(name: str) -> None:
    batch = read_settings(compose(name)).trainer.batch_size
    assert [count for count in range(1, 5) if batch % count == 0] == list(recipe.PROCESSES)


@pytest.mark.parametrize("processes", ["0", "3", "5"])
def test_a_number_of_processes_that_no_batch_can_be_shared_by_is_refused(
    processes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipe.main(["--processes", processes]) == 2
    assert f"processes is {processes}: the clips of a batch are shared by 1, 2, 4" in capsys.readouterr().err


def test_the_last_round_is_of_the_model_that_is_shipped() -> None:
    *_, last = recipe.GAZE_CLIPS
    group = compose(last)["model"]
    made = gaze_config(group).to_dict()
    shipped = AutoGazeConfig.from_pretrained(gaze_checkpoint(None)).to_dict()
    for name in group.keys() - {"preprocessing"}:  # which no model has, but every picture
        assert made[name] == shipped[name], name


@pytest.mark.parametrize("scale", ["0", "1.5", "nan"])
def test_a_scale_that_makes_no_sense_is_refused(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--scale", scale]) == 2
    assert "must be above 0 and at most 1" in capsys.readouterr().err


def test_a_step_that_fails_is_the_last(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "steps", lambda *_: [["false"], ["touch", str(tmp_path / "went on")]])
    assert recipe.main([]) == 1
    assert not (tmp_path / "went on").exists()
