"""The workloads on video: choosing patches, reconstructing from them, and the whole way from the file.

A repetition covers one clip: frames from the start of the video, cut into chunks, ``batch`` chunks to a call.
Heavy imports stay inside functions, because the measuring side reads the axes before it starts the process
that measures.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.errors import InputError
from autogaze.stages import stage
from suites.settings import GazeSetting, canonical_setting, parse_setting
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze.models.autogaze import GazeOutput

CLIP_FRAMES = 16
"""Frames of a clip; a chunk or batch that needs more makes the clip longer."""

ATTENTION_BACKENDS = ("eager", "sdpa", "flash_attention_2", "flex", "triton")
DTYPES = ("float32", "bfloat16", "float16")
ENGINES = ("auto", "eager", "graph", "triton")

UNTRAINED = "untrained weights: quality figures are meaningless"


def at_least_one(name: str, value: AxisValue) -> AxisValue:
    """Return the value of axis ``name`` if it is a count; raise ``InputError`` otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} {value} must be a whole number of at least 1")
    return value


AXES: Mapping[str, Axis] = {
    "setting": Axis("ratio_0.25", check=canonical_setting),
    "chunk": Axis(16, check=partial(at_least_one, "chunk")),
    "dtype": Axis("float32", known=DTYPES),
    "attention": Axis("sdpa", known=ATTENTION_BACKENDS),
    "batch": Axis(1, check=partial(at_least_one, "batch")),
    "engine": Axis("auto", known=ENGINES),
}


@dataclass
class Result:
    """One call: what was seen, what was chosen, and what came of it."""

    video: "Tensor"
    """(batch, chunk, 3, size, size), normalised."""
    gaze: "GazeOutput"
    reconstruction: dict[str, Any] | None = None


class Pipeline:
    """The models on a device, and the steps from frames to reconstruction.

    ``engine`` names how patches are generated, ``dtype`` a torch data type, ``attention`` a backend;
    ``reconstructs`` says whether a reconstructor is loaded too.
    """

    def __init__(
        self, inputs: Inputs, dtype: str, attention: str, engine: str = "auto", *, reconstructs: bool
    ) -> None:
        import torch

        from autogaze.attention import require_backend
        from autogaze.checkpoints import state_hash
        from autogaze.embedded import load_gaze_model, load_reconstructor
        from autogaze.models.autogaze.engines import choose_engine

        self.geometry = inputs.geometry
        self.device, self.dtype = torch.device(inputs.device), getattr(torch, dtype)
        require_backend(attention, self.device, self.dtype)
        torch.manual_seed(inputs.seed)
        self.gaze_model, trained = load_gaze_model(inputs.checkpoint, inputs.revision, attention)
        self.gaze_model.to(self.device, self.dtype)
        self.gaze_model.engine = choose_engine(engine, self.gaze_model.arch, self.device, self.dtype)
        self.details: dict[str, Any] = {
            "gaze.weights": state_hash(self.gaze_model),
            "gaze.engine": self.gaze_model.engine,
            "attention": attention,
        }
        self.task = None
        if reconstructs:
            self.task, task_trained = load_reconstructor(
                inputs.task_checkpoint, inputs.task_revision, attention
            )
            self.task.to(self.device, self.dtype)
            self.details["task.weights"] = state_hash(self.task)
            self.details["task.loss"] = self.task.config.loss_type
            trained = trained and task_trained
        self.notes = [] if trained else [UNTRAINED]

    def preprocess(self, clips: list[Any]) -> "Tensor":
        """Bring (frames, height, width, 3) uint8 clips to (clips, frames, 3, size, size), normalised, on the
        device."""
        import numpy as np
        import torch

        from autogaze.datasets.geometry import fit_frames, normalize

        size = self.gaze_model.arch.image_size
        video = np.stack([normalize(fit_frames(clip, size, self.geometry)) for clip in clips])
        return torch.from_numpy(video).to(self.device, self.dtype)

    def gaze(self, video: "Tensor", setting: GazeSetting) -> "GazeOutput":
        """Choose patches of a normalised video."""
        output: GazeOutput = self.gaze_model(
            {"video": video},
            gazing_ratio=setting.gazing_ratio,
            task_loss_requirement=setting.task_loss_requirement,
        )
        return output

    def reconstruct(self, video: "Tensor", gaze: "GazeOutput") -> dict[str, Any]:
        """Paint all frames from their gazed patches, and judge them by the reconstructor's own loss."""
        assert self.task is not None
        output: dict[str, Any] = self.task.forward_output({"video_for_task": video}, gaze)
        return output

    def judge(self, result: Result, video: int) -> list[dict[str, float]]:
        """Return for each frame of one video of a call its gazes, and its loss and picture quality where
        there are any."""
        rows: list[dict[str, float]] = [{"gazes": n} for n in result.gaze.gazes_each_frame()[video].tolist()]
        if result.reconstruction is None:
            return rows
        from autogaze.datasets.geometry import unnormalize
        from autogaze.tasks.video_mae_reconstruction import frame_metrics

        pictures = frame_metrics(
            unnormalize(result.video[video]), unnormalize(result.reconstruction["reconstruction"][video])
        )
        losses = result.reconstruction["reconstruction_loss_each_reconstruction_frame"][video].tolist()
        # Equal frames have infinite PSNR, which no mean survives: 100 dB is beyond what 8-bit pixels can
        # tell.
        return [
            {**row, **picture, "psnr": min(picture["psnr"], 100.0), "loss": loss}
            for row, picture, loss in zip(rows, pictures, losses)
        ]

    def work(self, result: Result) -> dict[str, float]:
        """Return the work of one call."""
        from autogaze.models.autogaze.work import gaze_work
        from autogaze.tasks.video_mae_reconstruction.work import reconstruction_work

        gaze, size = result.gaze, result.video.element_size()
        videos, frames = result.video.shape[:2]
        selected = int((~gaze.if_padded_gazing).sum())
        work = gaze_work(self.gaze_model.arch, gaze.num_gazing_each_frame.tolist(), size) * videos
        if result.reconstruction is not None:
            assert self.task is not None
            for gazes in gaze.gazes_each_frame().tolist():
                work += reconstruction_work(self.task.config, gazes, size)
        return {
            "clips": videos,
            "frames": videos * frames,
            "candidate_patches": videos * frames * gaze.num_vision_tokens_each_frame,
            "selected_patches": selected,
            "padded_patches": gaze.gazing_pos.numel() - selected,
            "flops": work.flops,
            "bytes": work.bytes,
        }


class ClipWorkload:
    """A clip cut into the cell's chunks."""

    axes: ClassVar[Mapping[str, Axis]] = AXES
    reconstructs: ClassVar[bool]

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        from autogaze.datasets.video_file import open_source
        from autogaze.embedded import clip_path

        self.setting = parse_setting(str(axes["setting"]))
        self.chunk, self.batch = int(axes["chunk"] or 1), int(axes["batch"] or 1)
        self.source = open_source(inputs.video or clip_path())
        self.pipeline = Pipeline(
            inputs,
            str(axes["dtype"]),
            str(axes["attention"]),
            str(axes["engine"]),
            reconstructs=self.reconstructs,
        )
        self.details, self.notes = self.pipeline.details, list(self.pipeline.notes)
        calls = max(1, CLIP_FRAMES // (self.chunk * self.batch))
        self.starts = [
            [(call * self.batch + b) * self.chunk for b in range(self.batch)] for call in range(calls)
        ]
        self._note_short_video()

    def _note_short_video(self) -> None:
        frames, wanted = self.source.frames, self.starts[-1][-1] + self.chunk
        if frames < self.chunk:
            self.notes.append(
                f"the video has {frames} frames, fewer than a chunk of {self.chunk}: "
                "its last frame is repeated"
            )
        elif frames < wanted:
            self.notes.append(
                f"the video has {frames} frames and a repetition needs {wanted}: "
                "it starts over from its beginning"
            )

    def decode(self, starts: list[int]) -> list[Any]:
        """Read one (chunk, height, width, 3) uint8 array for each start; past the end the video starts
        over."""
        chunks = max(1, self.source.frames // self.chunk)
        return [
            self.source.read(start // self.chunk % chunks * self.chunk, self.chunk).frames for start in starts
        ]

    def videos(self) -> list["Tensor"]:
        """Return the input of every call of a repetition."""
        return [self.pipeline.preprocess(self.decode(starts)) for starts in self.starts]


class _Judged(ClipWorkload):
    """Workloads whose calls give a :class:`Result`, and the judgement of what came out."""

    def quality(self, output: list[Result]) -> Quality:
        """Judge what a repetition gave: patches, work, and the pictures where there are any."""
        digest = hashlib.sha256()
        frames: list[dict[str, float]] = []
        counters: Counter[str] = Counter()
        for call, result in enumerate(output):
            counters.update(self.pipeline.work(result))
            for video in range(len(result.video)):
                digest.update(result.gaze.patch_hash(video).encode())
                clip = call * self.batch + video
                judged = self.pipeline.judge(result, video)
                frames += [{"clip": clip, "frame": t, **row} for t, row in enumerate(judged)]
        return Quality(digest.hexdigest()[:16], frames, dict(counters))


class Gaze(_Judged):
    """Choosing patches, on video already on the device."""

    reconstructs = False

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        super().__init__(axes, inputs)
        self._videos = self.videos()

    def run(self) -> list[Result]:
        import torch

        results = []
        with torch.inference_mode():
            for video in self._videos:
                with stage("gaze"):
                    gaze = self.pipeline.gaze(video, self.setting)
                results.append(Result(video, gaze))
        return results


class Reconstruct(_Judged):
    """Reconstruction from patches chosen beforehand."""

    reconstructs = True

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        import torch

        super().__init__(axes, inputs)
        with torch.inference_mode():
            self._chosen = [(video, self.pipeline.gaze(video, self.setting)) for video in self.videos()]

    def run(self) -> list[Result]:
        import torch

        results = []
        with torch.inference_mode():
            for video, gaze in self._chosen:
                with stage("reconstruct"):
                    reconstruction = self.pipeline.reconstruct(video, gaze)
                results.append(Result(video, gaze, reconstruction))
        return results


class EndToEnd(_Judged):
    """From the encoded file to reconstructed frames, stage by stage."""

    reconstructs = True

    def run(self) -> list[Result]:
        import torch

        results = []
        with torch.inference_mode():
            for starts in self.starts:
                with stage("decode"):
                    clips = self.decode(starts)
                with stage("preprocess"):
                    video = self.pipeline.preprocess(clips)
                with stage("gaze"):
                    gaze = self.pipeline.gaze(video, self.setting)
                with stage("reconstruct"):
                    reconstruction = self.pipeline.reconstruct(video, gaze)
                results.append(Result(video, gaze, reconstruction))
        return results
