"""The image processor of the released package, in numpy and Pillow.

It reads and writes ``preprocessor_config.json`` in transformers' notation and gives the same values under
every version of it; torchvision is not needed. The numbers are those of transformers'
``VivitImageProcessor``. transformers' own base class is there for its name alone, by which
``AutoImageProcessor`` knows an image processor.
"""

import difflib
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from autogaze.checkpoints import PINNED_REVISIONS, resolve
from autogaze.errors import InputError, unknown_name
from autogaze.models.autogaze.given_frames import CHANNELS_FIRST, CHANNELS_LAST, as_batch, as_word
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


_MEAN_AND_STD = (0.5, 0.5, 0.5)

_HUB_OPTIONS = (
    "cache_dir", "force_download", "local_files_only", "token", "subfolder", "proxies", "use_auth_token",
    "trust_remote_code", "use_fast", "backend", "code_revision", "_from_auto", "_from_pipeline",
)  # fmt: skip
"""Keywords of transformers' loading functions that are no settings."""


class AutoGazeImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Resize, optionally crop, and normalise videos.

    Without arguments it is what the released package makes without arguments, which is not what goes with the
    released checkpoints: :meth:`from_pretrained` and :meth:`of_checkpoint` give that.

    Args:
        do_resize: whether to resize to ``size``.
        size: ``{"shortest_edge": pixels}`` or its short form ``pixels`` keeps the aspect ratio;
            ``{"height": pixels, "width": pixels}`` or ``(height, width)`` does not. None is 256.
        resample: a Pillow filter; 2 is bilinear.
        do_center_crop: whether to cut ``crop_size`` out of the middle after resizing.
        crop_size: ``{"height": pixels, "width": pixels}``, ``(height, width)`` or the side of a square. None
            is 224.
        do_rescale: whether to multiply by ``rescale_factor`` and, with ``offset``, subtract 1.
        do_normalize: whether to subtract ``image_mean`` and divide by ``image_std``.
        image_mean: of each channel, or one number for all. None is 0.5.
        image_std: likewise.
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
        offset: bool = True,
        do_normalize: bool = True,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self.do_resize = do_resize
        self.size = _size("size", 256 if size is None else size, square=False)
        self.resample = resample
        self.do_center_crop = do_center_crop
        self.crop_size = _size("crop_size", 224 if crop_size is None else crop_size, square=True)
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.offset = offset
        self.do_normalize = do_normalize
        self.image_mean = _each_channel(image_mean)
        self.image_std = _each_channel(image_std)
        for name in unknown:
            if difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.8):  # no entry of a file, but a slip
                raise unknown_name("setting of AutoGazeImageProcessor", name, SETTINGS)
        self._unknown = unknown

    @classmethod
    def of_checkpoint(cls, size: int) -> "AutoGazeImageProcessor":
        """Return the processor of the released checkpoints, for a model that looks at ``size`` pixels."""
        pixels = DEFAULT_PIXEL_SCALE
        return cls(
            size={"shortest_edge": size},
            rescale_factor=pixels.rescale_factor,
            offset=pixels.offset,
            image_mean=pixels.image_mean,
            image_std=pixels.image_std,
        )

    def __call__(
        self, videos: Any = None, return_tensors: Any = None, *, images: Any = None, **settings: Any
    ) -> BatchFeature:
        """Do as :meth:`preprocess`."""
        return self.preprocess(videos, return_tensors, images=images, **settings)

    def preprocess(
        self,
        videos: Any = None,
        return_tensors: Any = None,
        *,
        images: Any = None,
        data_format: Any = CHANNELS_FIRST,
        input_data_format: Any = None,
        **settings: Any,
    ) -> BatchFeature:
        """Process one video or a batch of videos.

        Args:
            videos: one video, as (T, H, W, 3) or (T, 3, H, W) whole numbers from 0 to 255, or a list of such
                frames or of Pillow images (a single one is a video of one frame); or a batch, with one more
                dimension, or as a list of videos.
            return_tensors: None, ``"np"`` or ``"pt"``.
            images: another name of ``videos``.
            data_format: ``"channels_first"`` or ``"channels_last"``: where channels come out.
            input_data_format: the same for where they come in; None looks which side is 3 long.
            settings: of this call alone, by the names of the constructor's.

        Returns:
            ``pixel_values``, readable by key and by attribute: (B, T, 3, H', W') float32, or without
            ``return_tensors`` a list of B lists of T arrays (3, H', W').

        Raises:
            InputError: for anything else, and for videos of unlike shapes where one tensor is asked for.
        """
        if (videos is None) == (images is None):
            raise InputError("the image processor takes videos or images, and was given both or neither")
        if return_tensors is not None and as_word(return_tensors) not in ("np", "pt"):
            raise unknown_name("return_tensors", as_word(return_tensors), ("np", "pt"))
        if as_word(data_format) not in (CHANNELS_FIRST, CHANNELS_LAST):
            raise unknown_name("data_format", as_word(data_format), (CHANNELS_FIRST, CHANNELS_LAST))
        processor = self._with({name: value for name, value in settings.items() if value is not None})
        given = as_batch(images if videos is None else videos, input_data_format)
        batch = [processor.process_frames(frames) for frames in given]
        if as_word(data_format) == CHANNELS_LAST:
            batch = [video.transpose(0, 2, 3, 1) for video in batch]
        if return_tensors is None:
            return BatchFeature({"pixel_values": [list(video) for video in batch]})
        if len({video.shape for video in batch}) > 1:
            raise InputError(
                f"videos have shapes {', '.join(str(video.shape) for video in batch)} after processing: "
                "one tensor needs equal frame counts and sizes; process them one by one"
            )
        stacked = np.stack(batch) if len(batch) > 1 else batch[0][None]
        return BatchFeature(
            {"pixel_values": torch.from_numpy(stacked) if as_word(return_tensors) == "pt" else stacked}
        )

    def _with(self, settings: Mapping[str, Any]) -> "AutoGazeImageProcessor":
        """Return a processor that differs in ``settings``."""
        for name in settings:
            if name not in SETTINGS:
                raise unknown_name("argument of AutoGazeImageProcessor.preprocess", name, CALL_SETTINGS)
        return type(self)(**{**self.to_dict(), **settings}) if settings else self

    def process_frames(self, frames: Frames) -> npt.NDArray[np.float32]:
        """Process one video: (T, H, W, 3) uint8 to (T, 3, H', W') float32."""
        frames = check_frames(frames)
        if self.offset and not self.do_rescale:
            raise InputError(
                "offset=True subtracts 1 from rescaled pixels, and do_rescale is False: set both alike"
            )
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
            overrides: entries that replace those of the file, such as ``size=(392, 392)``; and transformers'
                keywords of loading, such as ``cache_dir``.

        Raises:
            InputError: if there is no configuration there, it is not a JSON object, or an entry is unknown.
        """
        hub = {name: overrides.pop(name) for name in _HUB_OPTIONS if name in overrides}
        if any(hub.get(name) for name in _HUB_OPTIONS[:7]) and not os.path.isdir(source):
            revision = revision or PINNED_REVISIONS.get(os.fspath(source))
            config, _ = cls.get_image_processor_dict(source, revision=revision, **hub)
        else:
            folder = Path(resolve(source, revision, (CONFIG_NAME,)), hub.get("subfolder") or "")
            config = _read_config(folder / CONFIG_NAME)
        made: AutoGazeImageProcessor = cls.from_dict(config, **overrides)
        return made

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **overrides: Any) -> Any:
        """Return the processor of a configuration, with ``overrides`` in place of its entries; with
        ``return_unused_kwargs``, and those of them that are none."""
        unused = {name: overrides.pop(name) for name in list(overrides) if name not in SETTINGS}
        wanted = unused.pop("return_unused_kwargs", False)
        for name in unused.keys() - {*_HUB_OPTIONS, "revision"}:
            if not wanted and name not in image_processor_dict:
                raise unknown_name("setting of AutoGazeImageProcessor", name, SETTINGS)
        kept = {name: value for name, value in unused.items() if name in image_processor_dict}
        made = cls(**{**image_processor_dict, **kept, **overrides})
        return (made, unused) if wanted else made

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

    def save_pretrained(self, folder: str | os.PathLike[str], **transformers: Any) -> list[str]:
        """Write ``preprocessor_config.json`` into ``folder``, which is made if need be; return what was
        written. Of transformers' keywords none may ask for more."""
        for name, value in transformers.items():
            if value:
                raise InputError(f"{name} is not supported: save into a folder, and upload that")
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
        return [str(Path(folder, CONFIG_NAME))]


SETTINGS = tuple(
    name
    for name in inspect.signature(AutoGazeImageProcessor.__init__).parameters
    if name not in ("self", "unknown")
)
"""Names of the settings."""
CALL_SETTINGS = (*SETTINGS, "videos", "images", "return_tensors", "data_format", "input_data_format")


def _each_channel(value: float | Sequence[float] | None) -> list[float]:
    """Return a value for each of three channels."""
    if value is None:
        return list(_MEAN_AND_STD)
    return [value] * len(_MEAN_AND_STD) if isinstance(value, int | float) else list(value)


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
