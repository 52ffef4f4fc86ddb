"""The workload ``evaluate``: the published reconstruction evaluation, one clip at one setting a cell.

Its clips have the published names, ``clip_00_start_0000``: their number, and their first frame in the video.
Cells that follow each other share a process, so that models are loaded once. Heavy imports stay inside
functions, as in :mod:`suites.video`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.errors import InputError
from autogaze.stages import stage
from suites.axes import ENGINES
from suites.foresight import foresee_clip
from suites.outlook import Outlook
from suites.pipeline import Pipeline, Result
from suites.preflight import check_clip_inputs, video_frames
from suites.settings import parse_setting
from suites.video import AXES, ClipWorkload
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_FORM = re.compile(r"clip_(\d+)_start_(\d+)")


@dataclass(frozen=True)
class EvaluatedClip:
    """A clip by its number in the evaluation, from 0, and its first frame in the video."""

    number: int
    start: int

    @property
    def name(self) -> str:
        """As published: ``clip_01_start_0016``."""
        return f"clip_{self.number:02d}_start_{self.start:04d}"


def parse_clip(name: str) -> EvaluatedClip:
    """Return the clip of that name; raises ``InputError`` for a name of another form."""
    match = _FORM.fullmatch(name)
    if match is None:
        raise InputError(f"clip '{name}' must have the form clip_01_start_0016")
    return EvaluatedClip(int(match[1]), int(match[2]))


def _canonical_clip(name: AxisValue) -> AxisValue:
    return parse_clip(str(name)).name


def clips_of(frames: int, clip_len: int, wanted: Sequence[int], most: int) -> list[EvaluatedClip]:
    """Return the clips of a video: those that begin at the frames ``wanted``, or one every ``clip_len``
    frames, at most ``most`` of them.

    As in the published evaluator, wanted starts behind the end are left out, and the last clip may be short.
    Raises ``InputError`` where no clip begins inside the video.
    """
    starts = [start for start in wanted or range(0, frames, clip_len) if start < frames]
    if not starts:
        raise InputError(
            f"no clip starts inside the video, which has {frames} frames: asked for were {list(wanted)}, "
            f"starts from 0 to {frames - 1} would do"
        )
    return [EvaluatedClip(number, start) for number, start in enumerate(starts[:most])]


class Evaluation:
    """A clip reconstructed from the patches chosen at a setting; decoding lies outside the repetition."""

    axes: ClassVar[Mapping[str, Axis]] = {
        "clip": Axis(EvaluatedClip(0, 0).name, check=_canonical_clip),
        **{name: AXES[name] for name in ("setting", "chunk", "dtype", "attention")},
        "engine": Axis("auto", known=ENGINES),
    }
    shares_process: ClassVar[bool] = True
    preload: ClassVar[Sequence[str]] = ClipWorkload.preload

    @classmethod
    def check(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        """Raise ``InputError`` for a video or checkpoint that is not there, and for a clip that begins behind
        the end of the video."""
        check_clip_inputs(inputs)
        start, frames = parse_clip(str(axes["clip"])).start, video_frames(inputs.video)
        if start >= frames:
            raise InputError(
                f"{axes['clip']} starts behind the end of the video, which has {frames} frames: starts from "
                f"0 to {frames - 1} would do"
            )

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what choosing, reconstructing and judging one clip takes; the models are loaded once."""
        return foresee_clip(axes, inputs, frozenset({"gaze", "reconstruct"}), 1)

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        from autogaze.embedded import clip_path
        from autogaze.video.video_file import open_source

        self.clip = parse_clip(str(axes["clip"]))
        self.setting = parse_setting(str(axes["setting"]))
        source = open_source(inputs.video or clip_path())
        clip = source.read(self.clip.start, int(axes["chunk"] or 1))
        self.pipeline = _pipeline(inputs, str(axes["dtype"]), str(axes["attention"]), str(axes["engine"]))
        self.details, self.notes = dict(self.pipeline.details), list(self.pipeline.notes)
        if clip.repeated:
            self.notes.append(
                f"the video ends {clip.repeated} frames before the clip does: its last frame is repeated"
            )
        self._video = self.pipeline.preprocess([clip.frames])
        self._is_pictured = self.clip.number < inputs.pictured_clips

    def run(self) -> Result:
        import torch

        with torch.inference_mode():
            with stage("gaze"):
                gaze = self.pipeline.gaze(self._video, self.setting)
            with stage("reconstruct"):
                reconstruction = self.pipeline.reconstruct(self._video, gaze)
        return Result(self._video, gaze, reconstruction)

    def quality(self, output: Result) -> Quality:
        """Judge the pictures of a repetition, and keep them where they are to be drawn."""
        gaze, requirement = output.gaze, output.gaze.task_loss_requirement
        judged = self.pipeline.judge(output, 0)
        return Quality(
            gaze.patch_hash(),
            [{"clip": self.clip.number, "frame": t, **row} for t, row in enumerate(judged)],
            self.pipeline.work(output),
            details={
                "gaze_outputs": {
                    "scales": gaze.scales,
                    "num_vision_tokens_each_frame": gaze.num_vision_tokens_each_frame,
                    "task_loss_requirement": None if requirement is None else requirement.tolist(),
                    "num_gazing_each_frame": gaze.num_gazing_each_frame.tolist(),
                }
            },
            arrays=_pictures(output) if self._is_pictured else {},
        )


@lru_cache(maxsize=1)
def _pipeline(inputs: Inputs, dtype: str, attention: str, engine: str) -> Pipeline:
    return Pipeline(inputs, dtype, attention, engine, reconstructs=True)


def _pictures(output: Result) -> "dict[str, NDArray[Any]]":
    """Return what a picture of one video's gaze is drawn from: ``original`` and ``reconstruction``, (frames,
    height, width, 3) uint8, and for each scale a ``mask``, (frames, patches) of zeros and ones."""
    assert output.reconstruction is not None
    masks = zip(output.gaze.scales, output.gaze.gazing_mask, strict=True)
    return {
        "original": _levels(output.video[0]),
        "reconstruction": _levels(output.reconstruction["reconstruction"][0]),
        **{f"mask_{scale}": mask[0].cpu().numpy().astype("uint8") for scale, mask in masks},
    }


def _levels(video: "Tensor") -> "NDArray[np.uint8]":
    from autogaze.video.preprocessing import unnormalize

    pixels = (unnormalize(video).nan_to_num() * 255).round()
    levels: NDArray[np.uint8] = pixels.byte().cpu().numpy().transpose(0, 2, 3, 1)
    return levels
