"""Folders of videos to train on, with the released package's arguments."""

import math
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from autogaze.datasets.labels import gazing_info, read_clip_labels
from autogaze.errors import InputError, unknown_name
from autogaze.video.frame_source import ARRAY_SUFFIXES, IMAGE_SUFFIXES, FrameSource
from autogaze.video.preprocessing import Frames, fit_frames
from autogaze.video.video_file import VideoFile, open_source

_CROP_ATTEMPTS = 10

_INDEXED_FRAMES = 1 << 23
"""Frames of video files whose index a data set keeps, 8 bytes each: 64 MiB."""

_NO_LINE = 1 << 30
"""Stack level of warnings about files: above all callers, of which none is to blame and none is quoted."""

_NOT_IN_ENDINGS = frozenset("*?[]/\\")
"""Characters of wildcards and of paths: files with such an ending would silently never be found."""


@dataclass(frozen=True)
class ResizedCrop:
    """Bounds of a random rectangle: its share of the picture's area, and its width over its height."""

    scale_min: float = 0.08
    scale_max: float = 1.0
    ratio_min: float = 3 / 4
    ratio_max: float = 4 / 3

    def __post_init__(self) -> None:
        if not 0 < self.scale_min <= self.scale_max <= 1:
            raise InputError(
                f"random_resized_crop takes from {self.scale_min} to {self.scale_max} of a picture: "
                "0 < scale_min <= scale_max <= 1 is needed"
            )
        if not 0 < self.ratio_min <= self.ratio_max:
            raise InputError(
                f"random_resized_crop has ratios from {self.ratio_min} to {self.ratio_max}: "
                "0 < ratio_min <= ratio_max is needed"
            )

    def draw(self, rng: np.random.RandomState, height: int, width: int) -> tuple[slice, slice]:
        """Draw the rows and columns of a crop, by the rule of Inception's training.

        Area is drawn evenly and ratio on a logarithmic scale until a rectangle fits; if none of ten does, the
        largest middle part of a permitted ratio is taken.
        """
        for _ in range(_CROP_ATTEMPTS):
            area = height * width * rng.uniform(self.scale_min, self.scale_max)
            ratio = math.exp(rng.uniform(math.log(self.ratio_min), math.log(self.ratio_max)))
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                top, left = rng.randint(0, height - rows + 1), rng.randint(0, width - columns + 1)
                return slice(top, top + rows), slice(left, left + columns)
        ratio = min(max(width / height, self.ratio_min), self.ratio_max)
        rows = max(1, min(height, round(width / ratio)))
        columns = max(1, min(width, round(height * ratio)))
        top, left = (height - rows) // 2, (width - columns) // 2
        return slice(top, top + rows), slice(left, left + columns)


class VideoFolder(Dataset[dict[str, Any]]):
    """One clip of every video in folders.

    An item is a dict of ``frames`` (clip_len, size, size, 3) uint8, ``video_path``, and ``gt_gazing_info``
    where labels are given. The whole picture, or a random crop of it, is resized to a square.

    Everything random follows from the seed, the epoch and the index; validation clips are the same in every
    epoch. A video that cannot be read is skipped with a warning, and the next one that can be takes its
    place.

    Args:
        root: folders joined by commas, each with a ``train`` and a ``val`` folder of videos inside. A video
            is a file with ``video_ext``, a ``.npy`` or ``.npz`` of frames, or a folder of pictures.
        split: ``train`` or ``val``.
        gt_gazing_pos_paths: label files, as :func:`autogaze.datasets.labels.read_labels` takes them; videos
            without labels are left out.
        random_sample_frame: whether clips begin anywhere they fit, each start as likely as any other, and not
            at frame 0.
        train_data_aug: ``aug_type`` (None or ``random_resized_crop``), and under ``random_resized_crop`` the
            fields of :class:`ResizedCrop`; for the train split only. All frames of a clip are cropped alike.
        clip_len: frames in a clip; a shorter video repeats its last frame.
        frame_sample_rate: one frame in so many is taken.
        video_ext: ending of video files.
        size: side of the frames in pixels.
        seed: of all that is random.

    Raises:
        InputError: for folders that are missing, may not be read or have no videos, labels that fit no video
            or no clip or were made at another rate, and augmentation of labelled clips, whose labels hold for
            the clip as it was labelled.
    """

    def __init__(
        self,
        root: str,
        split: Literal["train", "val"],
        gt_gazing_pos_paths: str | None = None,
        random_sample_frame: bool = False,
        train_data_aug: Mapping[str, Any] | None = None,
        clip_len: int = 16,
        frame_sample_rate: float = 1,
        video_ext: str = ".mp4",
        size: int = 224,
        seed: int = 0,
    ) -> None:
        if split not in get_args(Literal["train", "val"]):
            raise unknown_name("split", split, ("train", "val"))
        for name, value in (("clip_len", clip_len), ("frame_sample_rate", frame_sample_rate), ("size", size)):
            if value <= 0:
                raise InputError(f"{name} of a folder of videos is {value}: it must be positive")
        if not 0 <= seed < 2**32:
            raise InputError(f"seed of a folder of videos is {seed}: it must be from 0 to {2**32 - 1}")
        self.clip_len, self.frame_sample_rate, self.size, self.seed = clip_len, frame_sample_rate, size, seed
        self.split, self.random_sample_frame = split, random_sample_frame
        self._crop = _parse_augmentation(train_data_aug) if split == "train" else None
        self._epoch = 0
        self._unreadable: set[Path] = set()
        self._indexed: dict[Path, VideoFile] = {}
        self._room = _INDEXED_FRAMES
        self.videos = _list_videos(root, split, video_ext)
        self._labels = None
        if gt_gazing_pos_paths:
            if random_sample_frame or self._crop:
                raise InputError(
                    f"random_sample_frame or train_data_aug is set for the {split} split, which has labels: "
                    "they are of the first frames, uncropped, so turn both off"
                )
            self._labels = read_clip_labels(
                gt_gazing_pos_paths, map(str, self.videos), clip_len, frame_sample_rate
            )
            self.videos = [video for video in self.videos if str(video) in self._labels]

    def __len__(self) -> int:
        return len(self.videos)

    def set_epoch(self, epoch: int) -> None:
        """Draw anew what is random in the train split, for an epoch counted from 0."""
        if self.split == "train":
            self._epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"video {index} of {len(self)}")
        rng = np.random.RandomState([self.seed, self._epoch, index])
        video, frames = self._first_readable(index, rng)
        if self._crop is not None:
            rows, columns = self._crop.draw(rng, *frames.shape[1:3])
            frames = np.ascontiguousarray(frames[:, rows, columns])
        fitted = torch.from_numpy(fit_frames(frames, self.size))
        item: dict[str, Any] = {"frames": fitted, "video_path": str(video)}
        if self._labels is not None:
            item["gt_gazing_info"] = gazing_info(self._labels[str(video)])
        return item

    def _first_readable(self, index: int, rng: np.random.RandomState) -> tuple[Path, Frames]:
        """Return the first video from ``index`` on that can be read, beginning anew after the last."""
        state = rng.get_state()
        for video in (*self.videos[index:], *self.videos[:index]):
            if video in self._unreadable:
                continue
            rng.set_state(state)
            try:
                return video, self._read(video, rng)
            except InputError as error:
                self._unreadable.add(video)
                warnings.warn(f"skipped: {error}", stacklevel=_NO_LINE)
        raise InputError(
            f"none of the {len(self)} videos of the {self.split} split can be read, '{self.videos[index]}' "
            "among them: see the warnings for each one's reason"
        )

    def _read(self, video: Path, rng: np.random.RandomState) -> Frames:
        source = self._open(video)
        indices = sample_frame_indices(self.clip_len, self.frame_sample_rate, source.frames)
        room = source.frames - int(self.clip_len * self.frame_sample_rate)
        if self.random_sample_frame and room > 0:
            indices = indices + rng.randint(0, room + 1)
        # A short video's last frame is asked for more than once.
        numbers, places = np.unique(indices, return_inverse=True)
        return source.frames_at(numbers.tolist())[places]

    def _open(self, video: Path) -> FrameSource:
        """Open a video; what was found out about a file is kept, as long as there is room.

        A source of another kind may hold its frames, and is opened anew.
        """
        if video in self._indexed:
            return self._indexed[video]
        source = open_source(video)
        if isinstance(source, VideoFile) and source.frames <= self._room:
            self._indexed[video] = source
            self._room -= source.frames
        return source


def _parse_augmentation(settings: Mapping[str, Any] | None) -> ResizedCrop | None:
    kind = None if settings is None else settings.get("aug_type")
    if settings is None or kind is None:
        return None
    if kind != "random_resized_crop":
        raise unknown_name("aug_type", str(kind), ("random_resized_crop",))
    bounds = settings.get("random_resized_crop") or {}
    try:
        return ResizedCrop(**bounds)
    except TypeError:
        raise InputError(
            f"random_resized_crop has the settings {sorted(bounds)}: numbers for scale_min, scale_max, "
            "ratio_min and ratio_max are known"
        ) from None


def _list_videos(root: str, split: str, video_ext: str) -> list[Path]:
    """Return the videos of all roots, each root's in the order of their paths."""
    parts = [part.strip() for part in root.split(",")]
    if "" in parts:
        raise InputError(
            f"a name in dataset.root '{root}' is empty: name at least one folder, and several with one comma "
            "between each two"
        )
    if not video_ext or _NOT_IN_ENDINGS & set(video_ext):
        raise InputError(
            f"dataset.video_ext '{video_ext}' is no ending of files: give it without wildcards and folders, "
            "such as .mp4"
        )
    videos: list[Path] = []
    for part in map(Path, parts):
        with _readable(part):
            missing = None if (part / split).is_dir() else part / split if part.is_dir() else part
        if missing:
            raise InputError(
                f"folder '{missing}' does not exist: a root of videos is a folder with train and val inside"
            )
        videos += sorted(_videos_in(part / split, (video_ext.lower(), *ARRAY_SUFFIXES)))
    if not videos:
        raise InputError(
            f"'{root}' has no videos in {split}: put {video_ext} files, .npy or .npz files or folders of "
            "pictures there, or set video_ext"
        )
    return videos


def _videos_in(top: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the videos in a folder and the folders in it; one that holds pictures is a video, unless it holds
    videos, too, whose covers they may be.

    Links are followed, but each folder is visited once, by its own path where it has one below ``top``.
    """
    visited: set[tuple[int, int]] = set()
    folders, links = deque([top]), deque[Path]()
    while folders or links:
        folder = (folders or links).popleft()
        with _readable(folder):
            place, entries = folder.stat(), sorted(folder.iterdir())
            if (place.st_dev, place.st_ino) in visited:
                continue
            visited.add((place.st_dev, place.st_ino))
            names = [entry.name.lower() for entry in entries]
            pictures = any(map(_is_picture, names)) and not any(name.endswith(suffixes) for name in names)
            is_video = pictures and folder != top
            # What is in a folder of pictures is not looked at one by one.
            inner = [] if is_video else [entry for entry in entries if entry.is_dir()]
            for entry in inner:
                (links if entry.is_symlink() else folders).append(entry)
        if is_video:
            yield folder
        else:
            files = set(entries).difference(inner)
            yield from (file for file in files if file.name.lower().endswith(suffixes))


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Refuse a folder that turns out not to be readable."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"folder '{folder}' cannot be read ({error.strerror or error}): permit reading and searching it, "
            "or leave it out of dataset.root"
        ) from None


def _is_picture(name: str) -> bool:
    return name.endswith(IMAGE_SUFFIXES)


def sample_frame_indices(
    clip_len: int, frame_sample_rate: float, seg_len: int, random_sample_frame: bool = False
) -> npt.NDArray[np.int64]:
    """Choose ``clip_len`` frame numbers, one in ``frame_sample_rate``, of a video of ``seg_len`` frames.

    A video too short for that rate gives its first frames one by one, the last number repeated to make up for
    what is missing. With ``random_sample_frame`` the clip begins anywhere but at the last start at which it
    fits (drawn from numpy's global generator, both as in the released function), else at frame 0.
    """
    if clip_len < 1 or seg_len < 1 or frame_sample_rate <= 0:
        raise InputError(
            f"clip length {clip_len}, frame sample rate {frame_sample_rate} and video length {seg_len} "
            "must be positive"
        )
    span = int(clip_len * frame_sample_rate)
    if seg_len <= span:
        indices = np.arange(min(clip_len, seg_len), dtype=np.int64)
        return np.pad(indices, (0, clip_len - len(indices)), mode="edge")
    end = int(np.random.randint(span, seg_len)) if random_sample_frame else span
    start = end - span
    return np.clip(np.linspace(start, end, num=clip_len), start, end - 1).astype(np.int64)
