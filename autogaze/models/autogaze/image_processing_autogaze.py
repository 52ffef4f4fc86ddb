"""The image processor of the released checkpoints, in numpy and Pillow.

It reads and writes ``preprocessor_config.json`` in transformers' notation and gives the same values under
every version of it; torchvision is not needed. The numbers are those of transformers'
``VivitImageProcessor``.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature

from autogaze.checkpoints import resolve
from autogaze.errors import InputError, unknown_name
from autogaze.video.preprocessing import (
    DEFAULT_PIXEL_SCALE,
    Frames,
    center_crop,
    check_frames,
    normalize,
    resize_frames,
    shortest_edge_size,
    unnormalize,
)

__all__ = ["CONFIG_NAME", "AutoGazeImageProcessor", "Size", "unnormalize"]

CONFIG_NAME = "preprocessor_config.json"

Size: TypeAlias = int | Sequence[int] | dict[str, int]
"""The shorter side in pixels, (height, width), or either in transformers' notation."""


class AutoGazeImageProcessor:
    """Resize, optionally crop, and normalise videos.

    Args:
        do_resize: whether to resize to ``size``.
        size: ``{"shortest_edge": pixels}`` or its short form ``pixels`` keeps the aspect ratio;
            ``{"height": pixels, "width": pixels}`` or ``(height, width)`` does not. None is 224.
        resample: a Pillow filter; 2 is bilinear.
        do_center_crop: whether to cut ``crop_size`` out of the middle after resizing.
        crop_size: ``{"height": pixels, "width": pixels}``, ``(height, width)`` or the side of a square. None
            is 224.
        do_rescale: whether to multiply by ``rescale_factor`` and, with ``offset``, subtract 1.
        do_normalize: whether to subtract ``image_mean`` and divide by ``image_std``.
        unknown: entries of a configuration file that mean nothing here; they are kept and saved again.
    """

    model_input_names = ("pixel_values",)

    def __init__(
        self,
        do_resize: bool = True,
        size: Size | None = None,
        resample: int = Image.Resampling.BILINEAR,
        do_center_crop: bool = False,
        crop_size: Size | None = None,
        do_rescale: bool = True,
        rescale_factor: float = DEFAULT_PIXEL_SCALE.rescale_factor,
        offset: bool = DEFAULT_PIXEL_SCALE.offset,
        do_normalize: bool = True,
        image_mean: Sequence[float] = DEFAULT_PIXEL_SCALE.image_mean,
        image_std: Sequence[float] = DEFAULT_PIXEL_SCALE.image_std,
        **unknown: Any,
    ) -> None:
        self.do_resize = do_resize
        self.size = _size("size", 224 if size is None else size, square=False)
        self.resample = resample
        self.do_center_crop = do_center_crop
        self.crop_size = _size("crop_size", 224 if crop_size is None else crop_size, square=True)
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.offset = offset
        self.do_normalize = do_normalize
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self._unknown = unknown

    def __call__(self, videos: Any, return_tensors: str | None = None) -> BatchFeature:
        """Process one video or a batch of videos.

        Args:
            videos: one video, as (T, H, W, 3) uint8 or a list of (H, W, 3) frames or Pillow images (a single
                one is a video of one frame); or a batch, as (B, T, H, W, 3) or a list of videos.
            return_tensors: None, ``"np"`` or ``"pt"``.

        Returns:
            ``pixel_values``, readable by key and by attribute: (B, T, 3, H', W') float32, or without
            ``return_tensors`` a list of B lists of T arrays (3, H', W').

        Raises:
            InputError: for anything else, and for videos of unlike shapes where one tensor is asked for.
        """
        if return_tensors not in (None, "np", "pt"):
            raise unknown_name("return_tensors", str(return_tensors), ("np", "pt"))
        batch = [self.process_frames(frames) for frames in _as_batch(videos)]
        if return_tensors is None:
            return BatchFeature({"pixel_values": [list(video) for video in batch]})
        if len({video.shape for video in batch}) > 1:
            raise InputError(
                f"videos have shapes {', '.join(str(video.shape) for video in batch)} after processing: "
                "one tensor needs equal frame counts and sizes; process them one by one"
            )
        stacked = np.stack(batch) if len(batch) > 1 else batch[0][None]
        return BatchFeature(
            {"pixel_values": torch.from_numpy(stacked) if return_tensors == "pt" else stacked}
        )

    def process_frames(self, frames: Frames) -> npt.NDArray[np.float32]:
        """Process one video: (T, H, W, 3) uint8 to (T, 3, H', W') float32."""
        frames = check_frames(frames)
        if self.do_resize:
            if "shortest_edge" in self.size:
                height, width = shortest_edge_size(frames, self.size["shortest_edge"])
            else:
                height, width = self.size["height"], self.size["width"]
            frames = resize_frames(frames, height, width, self.resample)
        if self.do_center_crop:
            frames = center_crop(frames, self.crop_size["height"], self.crop_size["width"])
        return normalize(frames, self)

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], revision: str | None = None, **overrides: Any
    ) -> "AutoGazeImageProcessor":
        """Load from a folder, or from a hub id such as ``nvidia/AutoGaze``.

        Args:
            source: where :func:`autogaze.checkpoints.resolve` looks; only a hub id goes to the network.
            revision: branch, tag or commit of the hub repository; None for the pinned one.
            overrides: entries that replace those of the file, such as ``size=(392, 392)``.

        Raises:
            InputError: if there is no configuration there, or it is not a JSON object.
        """
        return cls(**_read_config(resolve(source, revision, (CONFIG_NAME,)) / CONFIG_NAME) | overrides)

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`save_pretrained` writes."""
        return self._unknown | {
            "crop_size": self.crop_size,
            "do_center_crop": self.do_center_crop,
            "do_normalize": self.do_normalize,
            "do_rescale": self.do_rescale,
            "do_resize": self.do_resize,
            "image_mean": self.image_mean,
            "image_processor_type": type(self).__name__,
            "image_std": self.image_std,
            "offset": self.offset,
            "resample": int(self.resample),
            "rescale_factor": self.rescale_factor,
            "size": self.size,
        }

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``preprocessor_config.json`` into ``folder``, which is made if need be."""
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
            unfinished = Path(folder, CONFIG_NAME + ".part")
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(Path(folder, CONFIG_NAME))
        except OSError as error:
            raise InputError(
                f"folder '{folder}' cannot be written ({error.strerror}): name a writable one"
            ) from None


def _size(name: str, size: Size, square: bool) -> dict[str, int]:
    """Return ``size`` in transformers' notation; a single number is a square or the shorter side."""
    found: Any = size
    if isinstance(found, int):
        found = {"height": found, "width": found} if square else {"shortest_edge": found}
    elif isinstance(found, list | tuple) and len(found) == 2:
        found = {"height": found[0], "width": found[1]}
    accepted = ({"height", "width"},) if square else ({"height", "width"}, {"shortest_edge"})
    sides = found.values() if isinstance(found, dict) and set(found) in accepted else [None]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        shorter = "" if square else ", or {'shortest_edge': pixels}"
        raise InputError(
            f"{name} {size} is not a size: {{'height': pixels, 'width': pixels}}{shorter} is needed"
        )
    return dict(found)


def _as_batch(videos: Any) -> list[Frames]:
    """Sort out a frame, a video and a batch by their number of dimensions; return one array a video."""
    if isinstance(videos, Image.Image):
        return [_as_frame(videos)[None]]
    if isinstance(videos, np.ndarray | Tensor):
        array = np.asarray(videos)
        if array.ndim == 5:
            return list(array)
        return [array if array.ndim == 4 else array[None]]
    if not isinstance(videos, list | tuple) or not videos:
        found = "an empty list" if isinstance(videos, list | tuple) else f"a {type(videos).__name__}"
        raise InputError(
            f"video is {found}: an array (frames, height, width, 3) or a list of frames is needed"
        )
    if isinstance(videos[0], list | tuple) or getattr(videos[0], "ndim", 3) == 4:
        return [_as_batch(video)[0] for video in videos]
    frames = [_as_frame(frame) for frame in videos]
    if shapes := {frame.shape for frame in frames} - {frames[0].shape}:
        raise InputError(
            f"frames of one video have shapes {frames[0].shape} and {min(shapes)}: resize them to one "
            "size first"
        )
    return [np.stack(frames)]


def _as_frame(frame: Any) -> npt.NDArray[Any]:
    return np.asarray(frame.convert("RGB") if isinstance(frame, Image.Image) else frame)


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"folder '{file.parent}' holds no {CONFIG_NAME}: name the folder of a saved checkpoint"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{file}' is not JSON ({error}): restore the file that came with the checkpoint"
        ) from None
    if not isinstance(config, dict):
        raise InputError(f"'{file}' holds a {type(config).__name__}: a JSON object of settings is needed")
    return config
