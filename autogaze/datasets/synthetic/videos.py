"""The endless data set of synthetic clips."""

from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from autogaze.datasets.labels import gazing_info, read_clip_labels
from autogaze.datasets.synthetic.effects import Look
from autogaze.datasets.synthetic.held_out import draw_held_out_scene
from autogaze.datasets.synthetic.scenes import draw_scene
from autogaze.errors import InputError, unknown_name
from autogaze.video.preprocessing import Frames, fit_frames

Split = Literal["train", "val"]
Style = Literal["mixed", "held_out"]

_LARGEST = 2**32 - 1
"""Of a seed or clip number, as numpy takes them."""


def paint_clip(split: Split, style: Style, seed: int, number: int, frames: int) -> Frames:
    """Paint the first ``frames`` frames of clip ``number``, (frames, 224, 224, 3) uint8.

    All that is random comes from ``numpy.random.RandomState``, whose streams numpy keeps as they are, seeded
    by the first four arguments: equal arguments give equal clips, on every machine with the same version of
    Pillow, which resamples and compresses. No two splits share a seed. A shorter clip is the beginning of a
    longer one.
    """
    rng = np.random.RandomState([seed, get_args(Split).index(split), get_args(Style).index(style), number])
    scene = draw_scene(rng) if style == "mixed" else draw_held_out_scene(rng)
    look = Look.draw(rng)
    pictures = islice(scene.frames(), frames)
    return np.stack([np.asarray(look(picture, frame)) for frame, picture in enumerate(pictures)])


class SyntheticVideos(Dataset[dict[str, Any]]):
    """Synthetic clips by number: ``mixed`` to train on, ``held_out`` with scenes that ``mixed`` never shows.

    An item is a dict of ``frames`` (clip_len, size, size, 3) uint8, ``video_path``, a made-up path that names
    the clip, and ``gt_gazing_info`` where labels are given.

    Every epoch of the train split brings ``length`` clips that no epoch before it had. With labels, and in
    the val split, every epoch has the same clips.

    Args:
        split: ``train`` or ``val``; they have no clip in common.
        style: ``mixed`` or ``held_out``.
        seed: another seed gives other clips.
        clip_len: frames in a clip.
        size: side of the frames in pixels; they are painted with 224 and resized.
        length: clips in an epoch; with labels, only those of them that have one.
        gt_gazing_pos_paths: label files, as :func:`autogaze.datasets.labels.read_labels` takes them.

    Raises:
        InputError: for a value out of range, or labels that fit no clip.
    """

    frame_sample_rate: float = 1
    """One frame in so many is taken: every one."""

    def __init__(
        self,
        split: Split = "train",
        style: Style = "mixed",
        seed: int = 0,
        clip_len: int = 16,
        size: int = 224,
        length: int = 10_000,
        gt_gazing_pos_paths: str | None = None,
    ) -> None:
        if split not in get_args(Split):
            raise unknown_name("split", split, get_args(Split))
        if style not in get_args(Style):
            raise unknown_name("style", style, get_args(Style))
        for name, value, least in (
            ("seed", seed, 0),
            ("clip_len", clip_len, 1),
            ("size", size, 1),
            ("length", length, 1),
        ):
            if not least <= value <= _LARGEST:
                raise InputError(
                    f"{name} of synthetic videos is {value}: it must be from {least} to {_LARGEST}"
                )
        self.split, self.style, self.seed, self.clip_len, self.size = split, style, seed, clip_len, size
        self._first = 0
        self._length = length
        self._labels = None
        if gt_gazing_pos_paths:
            paths = {self.path(number): number for number in range(length)}
            self._labels = read_clip_labels(gt_gazing_pos_paths, paths, clip_len)
            self._labelled = [paths[path] for path in self._labels]

    def __len__(self) -> int:
        return self._length if self._labels is None else len(self._labelled)

    def set_epoch(self, epoch: int) -> None:
        """Go to the clips of an epoch, counted from 0."""
        if self.split == "train" and self._labels is None:
            self._first = epoch * self._length

    def path(self, number: int) -> str:
        """Return the made-up path of a clip, whose three parts are those that label files know videos by."""
        return f"synthetic_{self.style}_{self.seed}/{self.split}/{number:08d}.mp4"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        number = self._first + index if self._labels is None else self._labelled[index]
        frames = paint_clip(self.split, self.style, self.seed, number, self.clip_len)
        path = self.path(number)
        item = {"frames": torch.from_numpy(fit_frames(frames, self.size)), "video_path": path}
        if self._labels is not None:
            item["gt_gazing_info"] = gazing_info(self._labels[path])
        return item
