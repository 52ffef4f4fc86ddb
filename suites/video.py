"""The workloads on video: choosing patches, reconstructing from them, and the whole way from the file.

A repetition covers one clip: frames from the start of the video, cut into chunks, ``batch`` chunks to a call.
Heavy imports stay inside functions, because the measuring side reads the axes before it starts the process
that measures.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.stages import stage, took
from suites.axes import ATTENTION_BACKENDS, ATTENTION_PRELOAD, DTYPES, ENGINES, at_least_one
from suites.outlook import Outlook
from suites.pipeline import Pipeline, Result
from suites.preflight import check_clip_inputs
from suites.released import BATCH_MATES, PEER_MEMORY, RELEASED, ReleasedPackage, check_upstream, load_peer
from suites.settings import canonical_setting, parse_setting
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze.models.autogaze import GazeOutput

CLIP_FRAMES = 16
"""Frames of a clip; a chunk or batch that needs more makes the clip longer."""


AXES: Mapping[str, Axis] = {
    "setting": Axis("ratio_0.25", check=canonical_setting),
    "chunk": Axis(16, check=partial(at_least_one, "chunk")),
    "dtype": Axis("float32", known=DTYPES),
    "attention": Axis("sdpa", known=ATTENTION_BACKENDS, preload=ATTENTION_PRELOAD),
    "batch": Axis(1, check=partial(at_least_one, "batch")),
    "engine": Axis("auto", known=(*ENGINES, RELEASED), needs={RELEASED: "upstream"}),
}


def calls_of(axes: Mapping[str, AxisValue]) -> int:
    """Return how many calls a repetition makes."""
    return max(1, CLIP_FRAMES // (int(axes["chunk"] or 1) * int(axes.get("batch") or 1)))


class ClipWorkload:
    """A clip cut into the cell's chunks."""

    axes: ClassVar[Mapping[str, Axis]] = AXES
    preload: ClassVar[Sequence[str]] = (
        "autogaze.embedded.reconstructor",
        "autogaze.models.autogaze",
        "autogaze.models.autogaze.work",
        "autogaze.tasks.video_mae_reconstruction.metrics",
        "autogaze.tasks.video_mae_reconstruction.work",
        "autogaze.video.video_file",
        "av",
    )
    reconstructs: ClassVar[bool]
    parts: ClassVar[frozenset[str]]
    """What a repetition is made of: ``read``, ``gaze``, ``reconstruct``."""
    peer: ReleasedPackage | None = None
    """Chooses the patches where the engine is ``released``."""

    @classmethod
    def check(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        """Raise ``InputError`` for a video or checkpoint that is not there, and where the engine is the
        released package and that cannot be imported."""
        check_clip_inputs(inputs)
        if axes.get("engine") == RELEASED:
            check_upstream(inputs.upstream, inputs.upstream_python)

    @classmethod
    def makes_sense(cls, axes: Mapping[str, AxisValue], typed: Collection[str]) -> bool:
        """Leave the released package out of batches that nobody asked for: it is held against ours at batch
        1, and with a requirement its patches depend on what else is in a batch."""
        return axes.get("engine") != RELEASED or axes.get("batch") == 1 or "batch" in typed

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what the parts of a cell take: reading, choosing, reconstructing and judging."""
        from suites.foresight import foresee_clip

        return foresee_clip(axes, inputs, cls.parts, calls_of(axes))

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        from autogaze.embedded import clip_path
        from autogaze.video.video_file import open_source

        self.setting = parse_setting(str(axes["setting"]))
        self.chunk, self.batch = int(axes["chunk"] or 1), int(axes["batch"] or 1)
        self.source = open_source(inputs.video or clip_path())
        self.pipeline = Pipeline(
            inputs,
            str(axes["dtype"]),
            str(axes["attention"]),
            "auto" if axes["engine"] == RELEASED else str(axes["engine"]),
            reconstructs=self.reconstructs,
        )
        self.details, self.notes = self.pipeline.details, [*self.pipeline.notes, *self.source.remarks]
        if axes["engine"] == RELEASED:
            self.peer = load_peer(inputs, str(axes["dtype"]))
            self.details |= {"ours.engine": self.details["gaze.engine"], "gaze.engine": RELEASED}
            self.details |= self.peer.details
            if self.batch > 1 and self.setting.task_loss_requirement is not None:
                self.notes.append(BATCH_MATES)
        self.starts = [
            [(call * self.batch + b) * self.chunk for b in range(self.batch)]
            for call in range(calls_of(axes))
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

    def hand_over(self, call: int, video: "Tensor") -> None:
        """Give the peer, if there is one, the video of a call."""
        if self.peer is not None:
            with stage("hand_over"):
                self.peer.hand_over(call, video)

    def choose(self, call: int, video: "Tensor") -> "GazeOutput":
        """Choose the patches of a call's video, which the peer has if there is one: stage ``gaze``."""
        if self.peer is None:
            with stage("gaze"):
                return self.pipeline.gaze(video, self.setting)
        arch = self.pipeline.gaze_model.arch
        gaze, seconds = self.peer.gaze(call, self.setting, arch.grid, self.pipeline.device)
        took("gaze", seconds)
        return gaze


class Judged(ClipWorkload):
    """Workloads whose calls give a :class:`Result`, and the judgement of what came out."""

    gazes = True
    """Whether a repetition runs a gaze model, whose work then counts."""

    def quality(self, output: list[Result]) -> Quality:
        """Judge what a repetition gave: patches, work, and the pictures where there are any."""
        digest = hashlib.sha256()
        frames: list[dict[str, float]] = []
        counters: Counter[str] = Counter()
        for call, result in enumerate(output):
            counters.update(self.pipeline.work(result, self.gazes))
            for video in range(len(result.video)):
                digest.update(result.gaze.patch_hash(video).encode())
                clip = call * self.batch + video
                judged = self.pipeline.judge(result, video)
                frames += [{"clip": clip, "frame": t, **row} for t, row in enumerate(judged)]
        remarks = self.pipeline.gaze_model.gazing_model.engine_remarks()
        self.notes += [remark for remark in remarks if remark not in self.notes]
        return Quality(digest.hexdigest()[:16], frames, dict(counters))


class _Choosing(Judged):
    """Workloads that time the choosing of patches, be it a peer's, and can judge it by the definition's."""

    _videos: list["Tensor"]
    """The input of every call, on the device, for our engine to choose from in turns with a peer."""
    _is_judged: bool
    """Whether the definition has a say: it costs a model of its own."""

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        super().__init__(axes, inputs)
        self._inputs = inputs
        self._exact: list[GazeOutput] | None = None

    def run_ours(self) -> list["GazeOutput"]:
        """Choose the patches of every call with our own engine."""
        import torch

        with torch.inference_mode():
            return [self.pipeline.gaze(video, self.setting) for video in self._videos]

    def quality(self, output: list[Result]) -> Quality:
        """Judge as above, and by the share of patches that ``eager`` chooses in float32 on the same clip."""
        quality = super().quality(output)
        if not self._is_judged:
            return quality
        if self._exact is None:
            self._exact = self._choose_exactly()
        frames = [
            share
            for result, exact in zip(output, self._exact, strict=True)
            for share in result.gaze.agreement(exact).flatten().tolist()
        ]
        quality.figures |= {
            "agreement": sum(frames) / len(frames),
            "agreement.worst_frame": min(frames),
        }
        return quality

    def _choose_exactly(self) -> "list[GazeOutput]":
        """Return what ``eager`` chooses in float32, call by call; its model is gone when this returns."""
        import torch

        exact = Pipeline(self._inputs, "float32", "sdpa", "eager", reconstructs=False)
        with torch.inference_mode():
            return [exact.gaze(exact.preprocess(self.decode(starts)), self.setting) for starts in self.starts]


class Gaze(_Choosing):
    """Choosing patches, on video already on the device; judged by what the definition would have chosen."""

    reconstructs = False
    parts = frozenset({"gaze"})

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        super().__init__(axes, inputs)
        self._is_judged = (self.details["gaze.engine"], axes["dtype"]) != ("eager", "float32")
        self._videos = self.videos()
        for call, video in enumerate(self._videos):
            self.hand_over(call, video)

    def run(self) -> list[Result]:
        import torch

        with torch.inference_mode():
            return [Result(video, self.choose(call, video)) for call, video in enumerate(self._videos)]


class Reconstruct(Judged):
    """Reconstruction from patches chosen beforehand.

    The reconstructor is the run's ``checkpoint`` (the embedded one, if it names none), or one of the
    ``released_size`` with seeded weights: its times mean something, its pictures do not.
    """

    axes: ClassVar[Mapping[str, Axis]] = {
        **AXES,
        "engine": Axis("auto", known=ENGINES),
        "reconstructor": Axis("checkpoint", known=("checkpoint", "released_size")),
    }
    reconstructs = True
    gazes = False
    parts = frozenset({"reconstruct"})

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        import torch

        from autogaze.embedded.reconstructor import RELEASED_SIZE, seeded_reconstructor

        super().__init__(axes, inputs)
        if axes["reconstructor"] == "released_size":
            self.pipeline.use(seeded_reconstructor(str(axes["attention"]), config=RELEASED_SIZE))
            self.notes += [note for note in self.pipeline.notes if note not in self.notes]
        self._chosen = []
        with torch.inference_mode():
            for call, video in enumerate(self.videos()):
                self._chosen.append((video, self.choose(call, video)))

    def run(self) -> list[Result]:
        import torch

        results = []
        with torch.inference_mode():
            for video, gaze in self._chosen:
                with stage("reconstruct"):
                    reconstruction = self.pipeline.reconstruct(video, gaze)
                results.append(Result(video, gaze, reconstruction))
        return results


class EndToEnd(_Choosing):
    """From the encoded file to reconstructed frames, stage by stage."""

    reconstructs = True
    parts = frozenset({"read", "gaze", "reconstruct"})

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        super().__init__(axes, inputs)
        self._is_judged = self.peer is not None
        self._videos = [] if self.peer is None else self.videos()
        if self.peer is not None:
            self.notes.append(PEER_MEMORY)

    def run(self) -> list[Result]:
        import torch

        results = []
        with torch.inference_mode():
            for call, starts in enumerate(self.starts):
                with stage("decode"):
                    clips = self.decode(starts)
                with stage("preprocess"):
                    video = self.pipeline.preprocess(clips)
                self.hand_over(call, video)
                gaze = self.choose(call, video)
                with stage("reconstruct"):
                    reconstruction = self.pipeline.reconstruct(video, gaze)
                results.append(Result(video, gaze, reconstruction))
        return results
