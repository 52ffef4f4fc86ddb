"""Labels for a whole data set: clip by clip into lines, from which a later run goes on, then into one file.

A label file is one JSON object: to write it anew after every batch would cost more with every clip that is in
it. A line is added at the price of its own clip.
"""

import glob
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from autogaze.checkpoints import state_hash
from autogaze.datasets.batches import collate, to_inputs
from autogaze.datasets.labels import (
    GazeLabels,
    append_labels,
    get_relative_video_path,
    label_names,
    read_label_lines,
    read_labels,
    read_settings_note,
    settings_note,
    write_labels,
)
from autogaze.errors import InputError
from autogaze.files import write_text
from autogaze.labelling.greedy import CANDIDATES, Mode, as_labels, greedy_frames
from autogaze.models.autogaze.budgets import budgets_of, dirichlet_ratios, exponential_ratio
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

Precision = Literal["float32", "bfloat16"]

_RATE = 10.0
"""Of the exponential distribution of average ratios: the gaze model's own."""

_FIRST_FRAME, _OTHER_FRAMES = 10, 3
"""Concentration of the Dirichlet distribution that splits a clip's patches over its frames."""


class Clips(Protocol):
    """A data set to label."""

    clip_len: int
    """Frames of a clip."""
    frame_sample_rate: float
    """One frame of a video in so many is in its clip."""

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th clip from clip ``number`` on: the part of the work that one process does."""

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise InputError(f"shard {self.number}/{self.count} does not exist: shards of n are 0/n to n-1/n")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``number/count``, such as ``0/2`` and ``1/2`` for two processes."""
        try:
            number, count = text.split("/")
            return cls(int(number), int(count))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"shard '{text}' is not of the form 0/2: number and count of shards") from None

    def file(self, out: Path) -> Path:
        """Return where the shard's labels go: ``labels.0-of-2.json`` where there are several."""
        return out if self.count == 1 else out.with_stem(f"{out.stem}.{self.number}-of-{self.count}")


@dataclass(frozen=True)
class LabelSettings:
    """What labels depend on besides the clips and the reconstructor."""

    mode: Mode = "accelerated"
    candidates: int = CANDIDATES
    group: int = 1
    gain_rates: tuple[float, ...] = ()
    precision: Precision = "float32"
    seed: int = 0
    ratio_min: float = 0.02
    ratio_max: float = 0.2
    """Bounds of a clip's average gazing ratio, a share of its patches."""

    def __post_init__(self) -> None:
        if not 0 < self.ratio_min <= self.ratio_max <= 1:
            raise InputError(
                f"gazing ratios from {self.ratio_min:g} to {self.ratio_max:g} cannot be drawn: bounds must "
                "ascend and lie in (0, 1]"
            )

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context in which the reconstructor runs on ``device`` with the precision asked for."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def draw_budgets(
    video_path: str, frames: int, settings: LabelSettings, patches_per_frame: int
) -> tuple[int, ...]:
    """Draw how many patches each of a clip's frames is given: the same for a clip's name and a seed, always.

    The average ratio is exponentially distributed inside its bounds, and Dirichlet(10, 3, ..., 3) splits it
    over the frames (Shi et al., 2026).
    """
    weights = torch.full((frames,), float(_OTHER_FRAMES))
    weights[0] = _FIRST_FRAME
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            zlib.crc32(f"{settings.seed} {get_relative_video_path(video_path)}".encode())
        )
        mean = exponential_ratio(settings.ratio_min, settings.ratio_max, _RATE)
        ratios = dirichlet_ratios(weights, mean)
    return budgets_of(ratios, patches_per_frame)


def make_labels(
    task: VideoMAEReconstruction,
    clips: Clips,
    names: Sequence[str],
    out: Path,
    settings: LabelSettings = LabelSettings(),
    shard: Shard = Shard(),
    batch_size: int = 4,
    device: torch.device | str = "cpu",
    progress: Callable[[float, int], None] = lambda done, total: None,
) -> dict[str, GazeLabels]:
    """Label the clips of a shard that ``out`` has no labels of yet, and return all labels in its file.

    ``names`` are the paths of the first clips, those to label. What is finished is kept after every
    ``batch_size`` clips, in lines beside the file; the file itself is written when all are, or an exception
    ends the work. ``progress`` is told how many clips are labelled, parts of clips included, and of how many.

    Raises ``InputError`` if the file holds labels that were made with other settings or another
    reconstructor, and for clips that label files cannot tell apart.
    """
    file = shard.file(out)
    _claim(file, settings, task, clips)
    labels, lines = _labels_in(file), _lines_of(file)
    numbers = range(shard.number, len(names), shard.count)
    missing = _missing(names, numbers, labels)
    task = task.to(device)
    try:
        for first in range(0, len(missing), batch_size):
            batch = missing[first : first + batch_size]
            # A data set may give another clip in the place of one that it cannot read.
            items = [clips[n] for n in batch]
            unique = {get_relative_video_path(item["video_path"]): item for item in items}
            new = {name: item for name, item in unique.items() if name not in labels}
            if not new:
                continue
            tell = partial(_tell, progress, len(numbers) - len(missing) + first, len(batch), len(numbers))
            made = _label(task, new, settings, device, tell)
            append_labels(lines, made)
            labels |= made
    finally:
        if lines.exists():
            write_labels(file, labels)
            lines.unlink()
    progress(len(numbers), len(numbers))
    return labels


def clips_to_label(names: Sequence[str], out: Path, shard: Shard = Shard()) -> list[int]:
    """Return the clips of a shard, by their places in ``names``, that ``out`` has no labels of yet.

    Raises ``InputError`` for label files that cannot be read, and for clips that they cannot tell apart.
    """
    file = shard.file(out)
    labels = _labels_in(file) if _exists(file) or _lines_of(file).exists() else {}
    return _missing(names, range(shard.number, len(names), shard.count), labels)


def _labels_in(file: Path) -> dict[str, GazeLabels]:
    """Return the labels of a file, and those kept in lines beside it."""
    labels = read_labels(glob.escape(str(file))) if file.exists() else {}
    if (lines := _lines_of(file)).exists():
        labels |= read_label_lines(lines)
    return labels


def _missing(names: Sequence[str], numbers: Sequence[int], labels: Mapping[str, GazeLabels]) -> list[int]:
    known_as = label_names(names)
    return [n for n in numbers if known_as[names[n]] not in labels]


def _lines_of(file: Path) -> Path:
    """Return where the clips of a label file are kept until it is written."""
    return file.with_name(f"{file.name}.partial.jsonl")


def _label(
    task: VideoMAEReconstruction,
    items: Mapping[str, dict[str, Any]],
    settings: LabelSettings,
    device: torch.device | str,
    progress: Callable[[float], None],
) -> dict[str, GazeLabels]:
    """Label items of a data set by name, as one batch; ``progress`` is told the share of it that is done."""
    video = to_inputs(collate(list(items.values())), device)["video_for_task"]
    frames, patches = video.shape[1], task.config.grid.patches_per_frame
    budgets = [draw_budgets(name, frames, settings, patches) for name in items]
    by_frame = []
    how = (settings.mode, settings.candidates, settings.group, settings.gain_rates)
    search = greedy_frames(task, video, budgets, *how)
    with settings.autocast(video.device):
        for gazes in search:
            by_frame.append(gazes)
            progress(len(by_frame) / frames)
    return dict(zip(items, as_labels(by_frame), strict=True))


def _tell(
    progress: Callable[[float, int], None], done: int, batch: int, total: int, share_of_batch: float
) -> None:
    progress(done + share_of_batch * batch, total)


def _claim(file: Path, settings: LabelSettings, task: VideoMAEReconstruction, clips: Clips) -> None:
    """Write down beside a label file how its labels are made; refuse one whose labels are made otherwise."""
    if "," in str(file):
        raise InputError(f"label file '{file}' has a comma in its path, which joins paths; name another file")
    made = asdict(settings) | {
        "clip_len": clips.clip_len,
        "frame_sample_rate": clips.frame_sample_rate,
        "reconstructor": state_hash(task),
        "scales": task.config.scales,
        "gain_rates": list(settings.gain_rates),  # as it is read back
    }
    note = settings_note(file)
    if not _exists(file) and not _lines_of(file).exists():
        _write_note(note, made)
        return
    if not note.exists():
        raise InputError(
            f"label file '{file}' does not say how it was made ('{note.name}' is missing), so it cannot be "
            "continued; name a new file"
        )
    # Notes without scales are of before they were noted; the reconstructor is the same, or is refused.
    before = {"scales": made["scales"]} | read_settings_note(file)
    for name, value in made.items():
        if before.get(name) != value:
            raise InputError(
                f"label file '{file}' was made with {name} {before.get(name)}, not {value}; label with the "
                "same, or name a new file"
            )


def _exists(file: Path) -> bool:
    """Tell whether there is a label file; refuse a folder, and a place that cannot be looked at."""
    try:
        if file.is_dir():
            raise InputError(
                f"label file '{file}' is a folder: name a file, such as '{file / 'labels.json'}'"
            )
        return file.exists()
    except OSError as error:
        raise InputError(
            f"label file '{file}' cannot be looked for ({error.strerror or error}): permit searching its "
            "folder, or name a file in another"
        ) from None


def _write_note(note: Path, made: Mapping[str, Any]) -> None:
    try:
        write_text(note, json.dumps(made, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"labels cannot be written beside '{note}': {error.strerror or error}") from None
