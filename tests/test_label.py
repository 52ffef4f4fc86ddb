"""``python -m autogaze.label``."""

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from autogaze import label
from autogaze.datasets.labels import read_labels
from autogaze.datasets.video_folder import VideoFolder
from autogaze.errors import InputError
from autogaze.label import main
from autogaze.labelling.agreement import Agreement
from tests.labelling.examples import small_task
from tests.video.videos import write_video


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("reconstructor")
    small_task().save(folder)
    return str(folder)


def run(*arguments: str) -> int:
    """Return the exit code."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_synthetic_clips_are_labelled(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.json"
    arguments = ("--count", "3", "--clip-len", "2", "--task-checkpoint", checkpoint, "--out", str(out))
    assert run(*arguments) == 0
    labels = read_labels(str(out))
    assert sorted(labels) == [f"synthetic_mixed_0/train/{number:08d}.mp4" for number in range(3)]
    assert capsys.readouterr().out.strip() == f"3 labelled clips in {out}"


def test_what_it_will_cost_is_said_first_and_progress_in_plain_lines(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--clip-len", "2", "--task-checkpoint", checkpoint, "--out", str(tmp_path / "labels.json"))
    assert run(*asked, "--count", "2") == 0
    cost, *_, last = capsys.readouterr().err.splitlines()
    gazes = sum(
        len(frame)
        for clip in read_labels(str(tmp_path / "labels.json")).values()
        for frame in clip.gazing_pos
    )
    assert cost.startswith(f"2 clips with {gazes} gazes to search for: about ")
    assert last == "labels: 2.0 of 2 clips"
    assert run(*asked, "--count", "3") == 0
    assert capsys.readouterr().err.startswith("1 clip with ")
    assert run(*asked, "--count", "3") == 0
    assert capsys.readouterr().err.startswith("nothing is left to label")


def test_progress_without_a_terminal_is_a_line_now_and_then_with_the_time_left() -> None:
    stream, now = StringIO(), [100.0]
    lines = label.PlainLines(Console(file=stream, width=200), every_seconds=30, clock=lambda: now[0])
    for second, done in ((10, 10.5), (31, 13.1), (45, 14.5), (62, 16.2), (70, 40.0), (71, 40.0)):
        now[0] = 100.0 + second
        lines(done, 40)
    assert stream.getvalue().splitlines() == [
        "labels: 13.1 of 40 clips, about 4 min left",
        "labels: 16.2 of 40 clips, about 4 min left",
        "labels: 40.0 of 40 clips",
    ]


def test_labels_by_given_rates_are_continued_with_the_same_only(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--clip-len", "1", "--task-checkpoint", checkpoint, "--out", str(tmp_path / "labels.json"))
    by_rates = ("--group", "5", "--gain-rates", "0.8, 1.1")
    assert run(*asked, *by_rates, "--count", "1") == 0
    assert run(*asked, *by_rates, "--count", "2") == 0
    assert len(read_labels(str(tmp_path / "labels.json"))) == 2
    assert run(*asked, "--group", "5", "--gain-rates", "0.8,1") == 2
    assert "was made with gain_rates [0.8, 1.1], not [0.8, 1.0]" in capsys.readouterr().err


def test_folders_of_videos_are_labelled(checkpoint: str, tmp_path: Path) -> None:
    folder = tmp_path / "set" / "val"
    folder.mkdir(parents=True)
    for name in "ab":
        np.save(folder / f"{name}.npy", np.random.RandomState(0).randint(0, 256, (2, 64, 64, 3), np.uint8))
    out = tmp_path / "labels.json"
    source = ("--dataset", "folder", "--root", str(tmp_path / "set"), "--split", "val", "--clip-len", "2")
    assert run(*source, "--task-checkpoint", checkpoint, "--out", str(out), "--shard", "1/2") == 0
    assert list(read_labels(str(tmp_path / "labels.1-of-2.json"))) == ["set/val/b.npy"]


def test_labels_of_a_rate_are_for_clips_of_that_rate(checkpoint: str, tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "labels.json"
    (root / "val").mkdir(parents=True)
    write_video(root / "val" / "a.mkv", 8)
    source = ("--dataset", "folder", "--root", str(root), "--split", "val", "--clip-len", "2")
    sampling = ("--frame-sample-rate", "3", "--video-ext", ".mkv")
    assert run(*source, *sampling, "--task-checkpoint", checkpoint, "--out", str(out)) == 0
    same = VideoFolder(str(root), "val", str(out), clip_len=2, frame_sample_rate=3, video_ext=".mkv")
    assert len(same) == 1
    with pytest.raises(InputError, match="was made with frame_sample_rate 3, and the clips are taken with 1"):
        VideoFolder(str(root), "val", str(out), clip_len=2, video_ext=".mkv")


def test_the_modes_are_compared(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "labels.json"
    arguments = ("--compare-exact", "2", "--clip-len", "2", "--candidates", "20")
    assert run(*arguments, "--task-checkpoint", checkpoint, "--out", str(out)) == 0
    assert "100.0% of the exact search's patches, loss 1.0000 times its loss" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_modes_are_compared_in_the_precision_that_is_asked_for(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    found = []

    def agreement(*_: Any) -> Agreement:
        found.append(torch.is_autocast_enabled("cpu"))
        return Agreement(1, 1, 1, 1)

    monkeypatch.setattr(label, "agreement", agreement)
    arguments = ("--compare-exact", "1", "--clip-len", "2", "--precision", precision)
    assert run(*arguments, "--task-checkpoint", checkpoint) == 0
    assert found == [precision == "bfloat16"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--dataset", "folder"), "--dataset folder needs --root"),
        (("--root", "videos"), "add --dataset folder"),
        (("--frame-sample-rate", "3"), "add --dataset folder"),
        (("--video-ext", ".mkv"), "add --dataset folder"),
        (("--device", "abacus"), "device 'abacus' cannot be used here"),
        (("--shard", "2"), "shard '2' is not of the form 0/2"),
        (("--ratio-min", "0.5"), "cannot be drawn"),
        (("--gain-rates", "0,much"), "gain rates '0,much' are not numbers joined by commas"),
        (("--task-checkpoint", "./nowhere"), "checkpoint folder ./nowhere does not exist"),
    ],
)
def test_input_that_cannot_be_used_is_a_sentence(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--out", str(tmp_path / "labels.json")) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
