"""Recorded gazes to learn from: the released format of ``gazing_labels.json``.

A file holds ``{"set/split/name.mp4": {"gazing_pos": [[...], ...], "task_losses": [[...], ...]}}``: for each
frame the patch indices in the order they were chosen, and the reconstruction loss after each of them. Videos
go by the last three parts of their path, so that a data set may move.
"""

import glob
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from autogaze.checkpoints import read_json
from autogaze.errors import InputError
from autogaze.files import write_text


@dataclass(frozen=True)
class GazeLabels:
    """The gazes of one video."""

    gazing_pos: tuple[tuple[int, ...], ...]
    """For each frame, patch indices within the frame, in the order they were chosen."""
    task_losses: tuple[tuple[float, ...], ...]
    """For each frame, the reconstruction loss after each gaze."""

    def __post_init__(self) -> None:
        positions, losses = ([len(frame) for frame in part] for part in (self.gazing_pos, self.task_losses))
        if positions != losses:
            raise InputError(
                f"labels have {positions} gazes and {losses} losses in their frames: one loss for each gaze "
                "is needed"
            )
        if not positions or 0 in positions:
            raise InputError(f"labels have {positions} gazes in their frames: at least one in each is needed")
        if (least := min(min(frame) for frame in self.gazing_pos)) < 0:
            raise InputError(f"labels hold patch index {least}: indices count from 0 within their frame")
        if any(len(set(frame)) < len(frame) for frame in self.gazing_pos):
            raise InputError("labels hold a patch twice in a frame: each is chosen once")
        if not all(math.isfinite(loss) for frame in self.task_losses for loss in frame):
            raise InputError("labels hold a loss that is no finite number, from which nothing can be learnt")


def read_labels(paths: str) -> dict[str, GazeLabels]:
    """Read label files.

    Args:
        paths: one or more files or wildcards such as ``labels/part_*.json``, joined by commas. Where two
            files label one video, the later one counts.

    Returns:
        The labels of each video by the last three parts of its path.

    Raises:
        InputError: for a path that names nothing, or a file that is not of this format.
    """
    labels: dict[str, GazeLabels] = {}
    for file in _files(paths):
        labels |= _read_file(file)
    return labels


def write_labels(path: str | os.PathLike[str], labels: Mapping[str, GazeLabels]) -> None:
    """Write a label file that :func:`read_labels` and the released code read; beside, then into place."""
    path = Path(path)
    try:
        write_text(path, json.dumps(_content(labels)))
    except OSError as error:
        raise _not_written(path, error) from error


def append_labels(path: Path, labels: Mapping[str, GazeLabels]) -> None:
    """Add labels to a file of lines, each the content of a label file of one video; return when they are on
    the disk."""
    lines = [json.dumps(_content({video: label})) + "\n" for video, label in labels.items()]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _not_written(path, error) from error


def read_label_lines(path: Path) -> dict[str, GazeLabels]:
    """Read what :func:`append_labels` wrote, and cut off a torn last line, or the next would be glued to it.

    Raises ``InputError`` for lines that are not of this format.
    """
    try:
        with path.open("r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            file.truncate(whole)
    except OSError as error:
        raise _not_written(path, error) from error
    labels: dict[str, GazeLabels] = {}
    for line in content[:whole].splitlines():
        labels |= _parse(path, line)
    return labels


def settings_note(file: Path) -> Path:
    """Return where ``python -m autogaze.label`` notes how it made a label file: a JSON object beside it."""
    return file.with_name(f"{file.name}.settings")


def read_settings_note(file: Path) -> dict[str, Any]:
    """Return how a label file was made; raise ``InputError`` where its note is no JSON object."""
    # Notes without a rate were written when every frame was labelled.
    return {"frame_sample_rate": 1} | read_json(settings_note(file))


def label_names(videos: Iterable[str]) -> dict[str, str]:
    """Return by path the name that label files know each video by; raise ``InputError`` where two share
    one."""
    names: dict[str, str] = {}
    paths: dict[str, str] = {}
    for video in videos:
        names[video] = get_relative_video_path(video)
        other = paths.setdefault(names[video], video)
        if other != video:
            raise InputError(
                f"'{other}' and '{video}' are both '{names[video]}' in label files, which name videos by the "
                "last three parts of their path; rename one"
            )
    return names


def read_clip_labels(
    paths: str, videos: Iterable[str], clip_len: int, frame_sample_rate: float = 1
) -> dict[str, GazeLabels]:
    """Read the labels of a data set's videos.

    Args:
        paths: as for :func:`read_labels`.
        videos: paths of the data set's videos.
        clip_len: frames in its clips.
        frame_sample_rate: one frame of a video in so many is in its clip.

    Returns:
        The labels by path, of those of ``videos`` that have any.

    Raises:
        InputError: if none of them has, if two share a name, or labels are of clips of another length or of
            another rate. Files without a note of their rate, such as released ones, are taken as they are.
    """
    for file in _files(paths):
        _check_rate(file, frame_sample_rate)
    labels = read_labels(paths)
    names = label_names(videos)
    found = {video: labels[name] for video, name in names.items() if name in labels}
    if not found:
        raise InputError(
            f"none of {len(names)} videos, '{next(iter(names.values()))}' the first, is among the "
            f"{len(labels)} that '{paths}' labels: label these videos, or name their labels"
        )
    for video, label in found.items():
        if len(label.gazing_pos) != clip_len:
            raise InputError(
                f"the labels of '{video}' are of {len(label.gazing_pos)} frames and clip_len is {clip_len}: "
                f"set it to {len(label.gazing_pos)}, or label the video anew"
            )
    return found


def check_scales(paths: str, scales: str) -> None:
    """Raise ``InputError`` if labels number the patches of other scales than a model's.

    Args:
        paths: as for :func:`read_labels`. Files without a note of their scales, such as released ones, are
            taken as they are.
        scales: the model's, such as ``32+64+112+224``.
    """
    for file in _files(paths):
        labelled = _noted(file).get("scales")
        if labelled is not None and _plain(labelled) != _plain(scales):
            raise InputError(
                f"label file '{file}' was made with the scales {labelled}, and the model has {scales}, whose "
                f"patches have other numbers: set its scales to {labelled}, or label the videos anew with a "
                f"reconstructor of {scales}"
            )


def gazing_info(labels: GazeLabels) -> dict[str, list[list[Any]]]:
    """Return labels as items of data sets hold them: lists of a list for each frame."""
    return {
        "gazing_pos": [list(frame) for frame in labels.gazing_pos],
        "task_losses": [list(frame) for frame in labels.task_losses],
    }


def _files(paths: str) -> list[Path]:
    """Return the files that ``paths`` names; a pattern that fits none is taken for a file's name."""
    patterns = (part.strip() for part in paths.split(","))
    return [Path(file) for pattern in patterns for file in sorted(glob.glob(pattern)) or [pattern]]


def _noted(file: Path) -> dict[str, Any]:
    """Return how a label file was made, as far as a note beside it says."""
    # Path.exists() would raise where the folder cannot be searched; reading the labels says so by name.
    return read_settings_note(file) if os.path.exists(settings_note(file)) else {}


def _plain(scales: Any) -> str:
    return str(scales).replace(" ", "")


def _check_rate(file: Path, frame_sample_rate: float) -> None:
    labelled = _noted(file).get("frame_sample_rate", frame_sample_rate)
    if labelled != frame_sample_rate:
        raise InputError(
            f"label file '{file}' was made with frame_sample_rate {labelled}, and the clips are taken with "
            f"{frame_sample_rate}: set it to {labelled}, or label the videos anew"
        )


def _read_file(path: Path) -> dict[str, GazeLabels]:
    try:
        return _parse(path, path.read_bytes())
    except OSError as error:
        raise _not_read(path, error) from None


def _parse(path: Path, text: bytes) -> dict[str, GazeLabels]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _not_read(path, error) from None
    if not isinstance(content, dict):
        raise InputError(
            f"label file '{path}' holds a {type(content).__name__}: an object of videos is needed"
        )
    return {
        get_relative_video_path(video): _labels_of(path, video, entry) for video, entry in content.items()
    }


def _content(labels: Mapping[str, GazeLabels]) -> dict[str, Any]:
    return {
        get_relative_video_path(video): {"gazing_pos": label.gazing_pos, "task_losses": label.task_losses}
        for video, label in labels.items()
    }


def _not_read(path: Path, error: Exception) -> InputError:
    return InputError(
        f"label file '{path}' cannot be read ({error}): name gazing_labels.json files, as "
        "'python -m autogaze.label' writes them"
    )


def _not_written(path: Path, error: OSError) -> InputError:
    return InputError(
        f"label file '{path}' cannot be written: {error.strerror or error}; free space, or name another file"
    )


def _labels_of(path: Path, video: str, entry: Any) -> GazeLabels:
    try:
        return GazeLabels(
            tuple(tuple(map(_patch, frame)) for frame in entry["gazing_pos"]),
            tuple(tuple(float(loss) for loss in frame) for frame in entry["task_losses"]),
        )
    except InputError as error:
        raise InputError(f"label file '{path}', '{video}': {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"label file '{path}' has no usable entry for '{video}': \"gazing_pos\", a list of whole numbers "
            'for each frame, and "task_losses", a list of numbers for each, are needed'
        ) from None


def _patch(index: Any) -> int:
    if type(index) is not int:  # true is an integer, too
        raise TypeError(f"{index!r} is no patch index")
    return index


def get_relative_video_path(path: str | os.PathLike[str]) -> str:
    """Return the last three parts of ``path``, by which label files name their videos."""
    return "/".join(PurePath(path).parts[-3:])
