"""``bench evaluate``: refused at once, measured like any suite, interrupted, finished, and written whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from autogaze.errors import InputError
from bench import journal
from bench.cli import main
from bench.commands.evaluate import parse_starts
from suites.loader import load_suite
from suites.settings import PUBLISHED_SETTINGS

REPOSITORY = Path(__file__).parents[3]
SETTINGS = [setting.name for setting in PUBLISHED_SETTINGS]
CLIPS = ["clip_00_start_0000", "clip_01_start_0002"]
FILES = {
    "metadata.json",
    "metrics_by_clip_setting.csv",
    "metrics_by_frame.csv",
    "summary_by_setting.csv",
    "summary.txt",
    "plots/gaze_heatmap.png",
    "plots/per_frame_curves.png",
    "plots/tradeoff_curves.png",
    *(f"visualizations/{CLIPS[0]}_{setting}.png" for setting in SETTINGS),
}
SHORT = ("--device", "cpu", "--clip-len", "2", "--samples", "1", "--time-budget", "0")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def evaluate(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *map(str, arguments)])
    return int(end.value.code or 0)


def write_video(folder: Path, frames: int = 4) -> Path:
    """Write pictures of noise, one a frame."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (frames, 48, 64, 3), dtype=np.uint8)
    for number, frame in enumerate(noise):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def figures(folder: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(folder / name)
    return table[[column for column in table if "seconds" not in column]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video, and what evaluating it writes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    video = write_video(folder / "video")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        options = ("--video", video, "--output-dir", folder / "out", "--out", folder / "results")
        assert evaluate(*SHORT, *options) == 0
    return video, folder / "out"


def test_exactly_the_published_files_are_written_and_the_run_is_one_like_any_other(
    undisturbed: tuple[Path, Path],
) -> None:
    _, out = undisturbed
    assert files_in(out) == FILES
    table = figures(out, "metrics_by_clip_setting.csv")
    assert table["clip_name"].tolist() == [clip for clip in CLIPS for _ in SETTINGS]
    assert table["setting"].tolist() == SETTINGS * 2
    assert table["psnr"].between(0, 100).all()
    (run,) = (out.parent / "results").iterdir()
    head, records = journal.read_run(run)
    assert (head.suite, len(records)) == ("evaluate", 14)
    assert files_in(run / "evaluation") == FILES
    assert (run / "report.md").exists()


def test_an_evaluation_interrupted_after_some_cells_and_resumed_writes_the_same_files(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    video, expected = undisturbed
    results, out = tmp_path / "results", tmp_path / "out"
    options = ["--video", str(video), "--output-dir", str(out), "--out", str(results)]
    command = [sys.executable, "-m", "bench", "evaluate", *SHORT, *options]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[9/14]"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    (run,) = results.iterdir()
    assert f"-m bench evaluate --resume {run} --output-dir {out}" in errors
    measured = len(journal.read_run(run)[1])
    assert 8 <= measured < 14
    assert files_in(out) == set()

    assert evaluate("--resume", run, "--output-dir", out) == 0
    assert len(journal.read_run(run)[1]) == 14
    assert files_in(out) == FILES
    for name in ("metrics_by_clip_setting.csv", "metrics_by_frame.csv", "summary_by_setting.csv"):
        pd.testing.assert_frame_equal(figures(out, name), figures(expected, name), rtol=0, atol=1e-6)
    for setting in SETTINGS:
        picture = f"visualizations/{CLIPS[0]}_{setting}.png"
        assert (out / picture).read_bytes() == (expected / picture).read_bytes()


def test_a_late_clip_that_cannot_be_decoded_is_named_and_everything_else_is_written(
    undisturbed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, expected = undisturbed
    video, out = write_video(tmp_path / "video"), tmp_path / "out"
    (video / "3.png").write_bytes(b"damaged")
    options = ("--video", video, "--output-dir", out, "--out", tmp_path / "results")
    assert evaluate(*SHORT, *options) == 1
    assert files_in(out) == FILES
    reason = f"'{video / '3.png'}' cannot be read as a picture"
    assert f"Not evaluated: 7 of 14 cells: {CLIPS[1]}: failed ({reason}" in (out / "summary.txt").read_text()
    printed = capsys.readouterr().out
    assert f"{CLIPS[1]}: failed" in " ".join(printed.split())
    *_, copied, counted, last = printed.splitlines()
    assert copied == f"{len(FILES)} files in {out}"
    assert counted == "7 of 14 cells not ok: 7 failed"
    assert last.endswith("report.html")
    ours, whole = (figures(each, "metrics_by_clip_setting.csv") for each in (out, expected))
    assert ours[ours["clip_name"] == CLIPS[1]]["psnr"].isna().all()
    assert ours["psnr"].tolist()[:7] == whole["psnr"].tolist()[:7]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--clip-starts", "0,x"], "clip starts '0,x' must be frame numbers joined by commas"),
        (["--clip-starts", "4,7"], "no clip starts inside the video, which has 4 frames"),
        (["--video", "/nowhere.mp4"], "video '/nowhere.mp4' does not exist"),
        (["--autogaze-model", "/nowhere"], "checkpoint folder /nowhere does not exist"),
        (["--task-asset-dir", "/nowhere"], "checkpoint folder /nowhere does not exist"),
        (["--attn-mode", "spda"], "did you mean 'sdpa'"),
        (["--device", "cpu,h100"], "no device here matches GPU 'h100'"),
        (["--output-dir", "/dev/null/out"], "output folder /dev/null/out cannot be written"),
        (["--resume", "/nowhere"], "no run is called '/nowhere'"),
        (["--max-clips", "0"], "Invalid value for '--max-clips'"),
    ],
)
def test_input_that_cannot_be_used_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    video = write_video(tmp_path / "video")
    options = ("--device", "cpu", "--video", video, "--output-dir", tmp_path / "out")
    assert evaluate(*options, "--out", tmp_path / "results", *arguments) == 2
    captured = capsys.readouterr()
    assert sentence in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not (tmp_path / "results").exists() or os.listdir(tmp_path / "results") == []


def test_only_an_evaluation_is_resumed_as_one(
    undisturbed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = (undisturbed[1].parent / "results").iterdir()
    other = tmp_path / "other"
    other.mkdir()
    head = (run / journal.RUN_FILE).read_text().replace('"suite": "evaluate"', '"suite": "default"')
    (other / journal.RUN_FILE).write_text(head)
    assert evaluate("--resume", other, "--output-dir", tmp_path / "out") == 2
    assert "is of suite default and no evaluation" in capsys.readouterr().err


def test_a_finished_evaluation_says_so_and_gives_its_files_again(
    undisturbed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = (undisturbed[1].parent / "results").iterdir()
    assert evaluate("--resume", run, "--output-dir", tmp_path / "out") == 0
    copied, finished, last = capsys.readouterr().out.splitlines()
    assert copied == f"{len(FILES)} files in {tmp_path / 'out'}"
    assert finished == f"run {run.name} is finished: 14 of 14 cells have a record"
    assert last == f"report: {run}/report.html"
    assert files_in(tmp_path / "out") == FILES


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--clip-len", "8", "was begun with clip len 2, and --clip-len asks for 8"),
        ("--seed", "5", "was begun with seed 0, and --seed asks for 5"),
        ("--attn-mode", "eager", "was begun with attn mode sdpa, and --attn-mode asks for eager"),
        ("--max-clips", "9", "was begun with max clips those of its own, and --max-clips asks for 9"),
    ],
)
def test_an_evaluation_is_not_finished_with_other_options(
    undisturbed: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    sentence: str,
) -> None:
    (run,) = (undisturbed[1].parent / "results").iterdir()
    assert evaluate("--resume", run, "--output-dir", tmp_path / "out", option, value) == 2
    assert sentence in capsys.readouterr().err


def test_the_suite_takes_several_samples_of_each_setting() -> None:
    suite = load_suite("evaluate")
    assert suite.min_samples >= 3
    assert suite.time_budget_seconds > 0


def test_starts_are_read_as_they_are_typed() -> None:
    assert parse_starts("") == ()
    assert parse_starts(" 0, 16,") == (0, 16)
    with pytest.raises(InputError, match="must not be negative"):
        parse_starts("0,-16")
