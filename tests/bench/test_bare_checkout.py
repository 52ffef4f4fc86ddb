"""A checkout measures with whatever Python has torch, PyAV or no PyAV."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autogaze.errors import InputError
from autogaze.video.video_file import open_source
from bench import journal
from bench.records import Status

REPOSITORY = Path(__file__).parents[2]
SUITE = """
version = 1
description = "one small cell"
time_budget_seconds = 0.001
min_samples = 1
timeout_seconds = 300

[[cells]]
workload = "gaze"
setting = ["ratio_0.02"]
chunk = [2]
"""


def without(tmp_path: Path, *packages: str) -> dict[str, str]:
    """Return the environment of a Python, and of those that it starts, that cannot import some packages."""
    blocker = tmp_path / "site" / "sitecustomize.py"
    blocker.parent.mkdir()
    blocker.write_text(f"import sys\nsys.modules.update(dict.fromkeys({packages}))\n")
    return {**os.environ, "PYTHONPATH": str(blocker.parent)}


@pytest.fixture
def without_av(tmp_path: Path) -> dict[str, str]:
    return without(tmp_path, "av")


def frames_in(form: str, folder: Path) -> Path:
    """Write 16 small frames as an array or as pictures; return the path."""
    frames = np.random.default_rng(0).integers(0, 256, (16, 48, 64, 3), dtype=np.uint8)
    if form == "array":
        np.savez(folder / "clip.npz", frames=frames)
        return folder / "clip.npz"
    (folder / "clip").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "clip" / f"{number}.png")
    return folder / "clip"


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(() if arguments[0] == "-c" else ("-m",)), *map(str, arguments)]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("form", ["array", "folder of pictures"])
def test_frames_are_measured_without_pyav(tmp_path: Path, without_av: dict[str, str], form: str) -> None:
    (tmp_path / "small.toml").write_text(SUITE)
    video, out = frames_in(form, tmp_path), tmp_path / "results"
    options = ("--gpu", "cpu", "--suite", tmp_path / "small.toml", "--video", video, "--out", out)
    done = run(without_av, "bench", "run", *options)
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    head, (record,) = journal.read_run(folder)
    assert record.status is Status.OK, record.reason
    assert record.counters["frames"] == 16
    assert head.settings["video_sha256"]
    assert (folder / "report.md").stat().st_size


def test_a_video_file_without_pyav_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install av, or give a folder of images or an \.npz"):
        open_source(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        (("pydantic",), "bench needs the package pydantic, not found by"),
        (("typer", "pydantic"), "bench needs the packages pydantic and typer, not found by"),
    ],
)
def test_what_the_command_line_lacks_is_one_sentence_before_anything_runs(
    tmp_path: Path, packages: tuple[str, ...], words: str
) -> None:
    done = run(without(tmp_path, *packages), "bench", "gpu-check", "--out", tmp_path / "results")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {words}")
    assert not (tmp_path / "results").exists()


def test_nothing_else_is_needed_to_read_the_command_line() -> None:
    """A package that comes with one of these is theirs to bring."""
    script = (
        "import sys, bench.__main__, bench.cli\n"
        "own = {m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)\n"
        "for name in ('av', 'matplotlib', 'pandas', 'pyarrow', 'torch', 'transformers', 'yaml', 'jinja2'):\n"
        "    assert name not in own, name\n"
        "assert set(bench.__main__.NEEDED) <= own"
    )
    done = run(dict(os.environ), "-c", script)
    assert done.returncode == 0, done.stderr
