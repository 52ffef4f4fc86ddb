"""The recipe of the embedded pair is commands that the project has."""

import re
import shlex
from fnmatch import fnmatch
from pathlib import Path

import pytest

from autogaze.embedded import recipe
from autogaze.labelling.maker import Shard
from autogaze.train import compose
from autogaze.training.settings import read_settings


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    assert recipe.main(["--show", *arguments]) == 0
    return [shlex.split(line.removeprefix("$ python -m ")) for line in capsys.readouterr().out.splitlines()]


def test_it_trains_labels_trains_and_exports(capsys: pytest.CaptureFixture[str]) -> None:
    programs = [command[0] for command in shown(capsys)]
    train, label, export = "autogaze.train", "autogaze.label", "autogaze.embedded.export"
    assert programs == [train, label, label, train, label, label, train, export]


@pytest.mark.parametrize("number", [0, 3, 6])
def test_what_it_trains_with_can_be_composed(capsys: pytest.CaptureFixture[str], number: int) -> None:
    _, logdir, _, name, *overrides = shown(capsys, "--scale", "0.01", "--out", "there")[number]
    settings = read_settings(compose(name, [logdir, *overrides]))
    assert settings.trainer.logdir == "there"
    assert settings.dataset.train_length is not None
    least, most = settings.trainer.batch_size, recipe.RECONSTRUCTOR_CLIPS // 100
    assert least <= settings.dataset.train_length <= most


def test_what_one_step_writes_the_next_one_reads(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [" ".join(command) for command in shown(capsys, "--out", "there")]
    painter, *rounds, exporter = commands
    assert "--config-name embedded_reconstructor" in painter
    for number, (labeller, validation, gazer) in enumerate((rounds[:3], rounds[3:]), start=1):
        assert "--task-checkpoint there/embedded_reconstructor/checkpoint_latest_task" in labeller
        for split, command in (("train", labeller), ("val", validation)):
            assert f"--split {split}" in command
            assert f"--out there/gazing_labels_{number}_{split}.json" in command
            assert f"gt_gazing_pos_paths.{split}=there/gazing_labels_{number}_{split}.json" in gazer
    assert "trainer.gaze_weights=there/embedded_gaze/checkpoint_latest_gaze" in rounds[-1]
    assert "there/embedded_gaze_2/checkpoint_latest_gaze" in exporter


def test_processes_share_the_clips_of_a_batch_and_the_labels(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [" ".join(command) for command in shown(capsys, "--processes", "2", "--out", "there")]
    trainers = [command for command in commands if "autogaze.train" in command]
    launcher = "torch.distributed.run --standalone --nproc-per-node=2 -m autogaze.train"
    assert all(command.startswith(launcher) for command in trainers)
    labellers = [command for command in commands if command.startswith("autogaze.label")]
    shards = [re.sub(r".*--split (\w+) .*--shard (\S+).*", r"\1 \2", command) for command in labellers]
    assert shards == 2 * ["train 0/2", "train 1/2", "val 0/2", "val 1/2"]
    for split in ("train", "val"):
        pattern = re.search(rf"gt_gazing_pos_paths.{split}=(\S+)", trainers[-1])
        assert pattern is not None
        for number in range(2):
            written = Shard(number, 2).file(Path(f"there/gazing_labels_2_{split}.json"))
            assert fnmatch(str(written), pattern[1])


def test_a_number_of_processes_that_no_batch_can_be_shared_by_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert recipe.main(["--processes", "9"]) == 2
    assert "1 to 8 can share batches of 8 clips" in capsys.readouterr().err


def test_commands_of_a_step_run_side_by_side_and_any_failure_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [["sh", "-c", f"touch {tmp_path}/one; exit 3"], ["touch", f"{tmp_path}/other"]]
    monkeypatch.setattr(recipe, "steps", lambda *_: [both, [["touch", f"{tmp_path}/after"]]])
    assert recipe.main([]) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


@pytest.mark.parametrize("scale", ["0", "1.5", "nan"])
def test_a_scale_that_makes_no_sense_is_refused(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.main(["--scale", scale]) == 2
    assert "must be above 0 and at most 1" in capsys.readouterr().err


def test_a_step_that_fails_is_the_last(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "steps", lambda *_: [[["false"]], [["touch", str(tmp_path / "went on")]]])
    assert recipe.main([]) == 1
    assert not (tmp_path / "went on").exists()
