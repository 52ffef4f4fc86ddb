"""Preflight: video and checkpoints that a run's inputs name are there and can be opened, before any model is
loaded.

Nothing here loads torch. Answers are remembered: every cell of a run asks the same.
"""

import os
import re
from functools import cache
from pathlib import Path

from autogaze.errors import InputError
from suites.workload import Inputs

_CONFIGURATIONS = ("config.json", "config.yaml")
"""What a checkpoint of either layout has one of."""
_WEIGHTS = (".safetensors", ".pt", ".bin")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def check_clip_inputs(inputs: Inputs) -> None:
    """Raise ``InputError`` for a video that cannot be opened, and for a checkpoint that is not there.

    Of a checkpoint on the hub the configuration is fetched, which shows name, revision and network to be
    right.
    """
    check_source(inputs.video)
    video_frames(inputs.video)
    _check_checkpoint(inputs.checkpoint, inputs.revision)
    _check_checkpoint(inputs.task_checkpoint, inputs.task_revision)


def check_source(video: str | None) -> None:
    """Raise ``InputError`` for a video that is no file or folder here: an address, several at once."""
    if video is None or Path(video).exists():
        return
    if _ADDRESS.match(video):
        raise InputError(
            f"video {video} is an address, and only files are measured: record some of it, and name the file"
        )
    parts = [part.strip() for part in video.split(",") if part.strip()]
    if len(parts) > 1 and any(_ADDRESS.match(part) or Path(part).exists() for part in parts):
        raise InputError(f"video {video} names {len(parts)} videos, and a run measures one: name one")


@cache
def video_frames(video: str | None) -> int:
    """Return how many frames a video has, the embedded clip if it is None; raises ``InputError`` for one that
    cannot be opened."""
    from autogaze.embedded import clip_path
    from autogaze.video.video_file import open_source

    return open_source(video or clip_path()).frames


@cache
def _check_checkpoint(checkpoint: str | None, revision: str | None) -> None:
    if checkpoint is None:
        return
    # Its bars would be drawn over what the terminal shows of a run.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from autogaze.hub import resolve

    folder = resolve(checkpoint, revision, _CONFIGURATIONS)
    if not any((folder / name).is_file() for name in _CONFIGURATIONS):
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise InputError(
            f"checkpoint {checkpoint} holds {found}, and no {' or '.join(_CONFIGURATIONS)}: "
            "name the folder of a saved model"
        )
    here = Path(checkpoint).expanduser().is_dir()  # of one on the hub only the configuration was fetched
    if here and not any(path.suffix in _WEIGHTS for path in folder.iterdir()):
        raise InputError(
            f"checkpoint {checkpoint} holds a configuration and no weights ({' or '.join(_WEIGHTS)} files): "
            "name the folder of a saved model"
        )
