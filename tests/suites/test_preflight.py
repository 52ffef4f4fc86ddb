"""Inputs are looked at before anything is loaded."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autogaze.errors import InputError
from suites.preflight import check_clip_inputs, check_source, video_frames
from suites.video import Gaze
from suites.workload import Inputs


@pytest.fixture
def clip(tmp_path: Path) -> str:
    np.savez(tmp_path / "clip.npz", frames=np.zeros((3, 8, 8, 3), np.uint8))
    return str(tmp_path / "clip.npz")


def test_frames_are_counted_without_loading_torch(clip: str) -> None:
    script = (
        "import sys; from suites.preflight import *; from suites.workload import Inputs; "
        "check_clip_inputs(Inputs(video=sys.argv[1])); "
        "print(video_frames(sys.argv[1]), video_frames(None), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, clip], capture_output=True, text=True)
    assert done.stdout.split() == ["3", "64", "False"], done.stderr


def test_a_video_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="cannot be read"):
        check_clip_inputs(Inputs(video=str(tmp_path / "v.mp4")))
    with pytest.raises(InputError, match="does not exist"):
        video_frames(str(tmp_path / "nowhere.mp4"))


@pytest.mark.parametrize("which", ["checkpoint", "task_checkpoint"])
def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path, clip: str, which: str) -> None:
    def inputs(folder: Path) -> Inputs:
        return Inputs(video=clip, **{which: str(folder)})

    with pytest.raises(InputError, match="does not exist; name a folder, or a hub id"):
        check_clip_inputs(inputs(tmp_path / "nowhere"))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InputError, match=r"folder holds nothing, and no config\.json or config\.yaml"):
        check_clip_inputs(inputs(folder))
    (folder / "weights.bin").touch()
    with pytest.raises(InputError, match=r"holds weights\.bin, and no"):
        check_clip_inputs(inputs(folder))
    (folder / "config.json").write_text(json.dumps({}))
    check_clip_inputs(inputs(folder))
    (folder / "weights.bin").unlink()
    without = tmp_path / "without"
    folder.rename(without)
    with pytest.raises(InputError, match="without holds a configuration and no weights"):
        check_clip_inputs(inputs(without))


def test_every_workload_on_video_looks_at_its_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Gaze.check({"engine": "auto"}, Inputs(video=str(tmp_path / "nowhere.npz")))


@pytest.mark.parametrize(
    ("video", "sentence"),
    [
        ("rtsp://camera.example/1", "is an address, and only files are measured"),
        ("https://a.example/v.mp4", "is an address, and only files are measured"),
        ("{clip},{clip}", "names 2 videos, and a run measures one: name one"),
        ("{clip}, nowhere.mp4,", "names 2 videos, and a run measures one: name one"),
    ],
)
def test_what_is_no_file_here_is_refused_for_what_it_is(clip: str, video: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_source(video.format(clip=clip))


def test_a_file_whose_name_has_a_comma_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a,b.mp4").touch()
    check_source(str(tmp_path / "a,b.mp4"))
    check_source(None)
