"""The published reconstruction evaluation: seven settings on consecutive clips of a video."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze.errors import InputError
from autogaze.stages import stage
from suites.pipeline import Pipeline, Result
from suites.settings import PUBLISHED_SETTINGS, GazeSetting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Evaluated:
    """One clip at one setting."""

    clip: int
    start: int
    setting: GazeSetting
    result: Result
    frames: list[dict[str, float]]
    """For each frame: gazes, loss, mae, mse, psnr, ssim."""
    total: int
    """Clips times settings of the whole evaluation."""

    @property
    def clip_name(self) -> str:
        return f"clip_{self.clip:02d}_start_{self.start:04d}"


Timed = Callable[[], AbstractContextManager[None]]
"""Opens the timing of one clip at one setting; its stages are ``gaze`` and ``reconstruct``."""


def clip_starts(frames: int, clip_len: int, wanted: Sequence[int], most: int) -> list[int]:
    """Return the first frames of the clips: those ``wanted``, or every ``clip_len`` frames, at most ``most``
    of them.

    As in the published evaluator, wanted starts behind the end are left out, and the last clip may be short.
    """
    starts = [start for start in wanted or range(0, frames, clip_len) if start < frames]
    if not starts:
        raise InputError(
            f"no clip starts inside the video: it has {frames} frames, asked for were {list(wanted)}"
        )
    return starts[:most]


def evaluate(
    pipeline: Pipeline, video: Path | None, clip_len: int, wanted: Sequence[int], most: int, timed: Timed
) -> Iterator[Evaluated]:
    """Evaluate clips of ``video`` (None: the embedded one) at the published settings, setting by setting."""
    import torch

    from autogaze.embedded import clip_path
    from autogaze.video.video_file import open_source

    source = open_source(video or clip_path())
    starts = clip_starts(source.frames, clip_len, wanted, most)
    with torch.inference_mode():
        for clip, start in enumerate(starts):
            pixels = pipeline.preprocess([source.read(start, clip_len).frames])
            if clip == 0:
                _run(
                    pipeline, pixels, PUBLISHED_SETTINGS[0]
                )  # Warms up libraries and allocator; nobody looks at it.
            for setting in PUBLISHED_SETTINGS:
                with timed():
                    result = _run(pipeline, pixels, setting)
                frames = pipeline.judge(result, 0)
                yield Evaluated(clip, start, setting, result, frames, len(starts) * len(PUBLISHED_SETTINGS))


def _run(pipeline: Pipeline, video: "Tensor", setting: GazeSetting) -> Result:
    with stage("gaze"):
        gaze = pipeline.gaze(video, setting)
    with stage("reconstruct"):
        reconstruction: dict[str, Any] = pipeline.reconstruct(video, gaze)
    return Result(video, gaze, reconstruction)
