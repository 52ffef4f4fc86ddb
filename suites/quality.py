"""The workload on quality: the same clips, reconstructed from the patches of the gaze model or of another
selector.

Time is measured too, but this workload is there for its frames: one selector is laid beside another clip by
clip. Heavy imports stay inside functions, as in :mod:`suites.video`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.errors import InputError
from autogaze.stages import stage
from suites.axes import ENGINES, at_least_one
from suites.foresight import GAZE, GREEDY, foresee_clip, reconstructor_config
from suites.judges import JUDGES, Judge, judge_obstacle, open_judge
from suites.outlook import Outlook
from suites.pipeline import Result
from suites.preflight import video_frames
from suites.settings import GazeSetting
from suites.video import AXES, Judged
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze.models.autogaze import GazeOutput

SELECTORS = (
    GAZE,
    "random",
    "uniform",
    "coarse_first",
    "centre",
    "frame_difference",
    "laplacian",
    "motion_vectors",
    GREEDY,
)
STYLES = {"synthetic:val": "mixed", "synthetic:held_out": "held_out"}
"""Sources of painted clips: like the training clips, and with scenes that training never shows."""
VIDEO = "video"
"""The source that is the run's own video."""


class SelectorQuality(Judged):
    """Clips reconstructed from the patches that one selector chose.

    Axes beside those of all video workloads: ``selector``; ``source`` of the clips, of which there are
    ``clips`` at most; ``positions`` of the gaze model's decoder steps; ``judge``, a network that compares
    pictures too.
    """

    reconstructs = True
    axes: ClassVar[Mapping[str, Axis]] = {
        "selector": Axis(GAZE, known=SELECTORS),
        "source": Axis(VIDEO, known=(VIDEO, *STYLES)),
        "clips": Axis(8, check=partial(at_least_one, "clips")),
        "positions": Axis("released", known=("released", "sequential")),
        "judge": Axis("pixels", known=JUDGES),
        **{name: axis for name, axis in AXES.items() if name not in ("batch", "engine")},
        "engine": Axis("auto", known=ENGINES),
    }
    preload: ClassVar[Sequence[str]] = (
        *Judged.preload,
        "autogaze.datasets.synthetic",
        "autogaze.selectors",
    )

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what choosing, reconstructing and judging so many clips takes."""
        clips, chunk = int(axes["clips"] or 1), int(axes["chunk"] or 1)
        if str(axes["source"]) not in STYLES:
            clips = max(1, min(clips, video_frames(inputs.video) // chunk))
        losses = reconstructor_config(inputs.task_checkpoint, inputs.task_revision).losses
        if (obstacle := judge_obstacle(str(axes["judge"]), losses)) is not None:
            return Outlook(obstacle)
        return foresee_clip({**axes, "batch": 1}, inputs, frozenset({"gaze", "reconstruct"}), clips)

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        self._style = STYLES.get(str(axes["source"]))
        # Painted clips have no file; the embedded one is opened in its place and never read.
        clip_inputs = inputs if self._style is None else replace(inputs, video=None)
        super().__init__({**axes, "batch": 1}, clip_inputs)
        self._seed, self._name = inputs.seed, str(axes["selector"])
        self.gazes = self._name == GAZE
        if self._name != GAZE and self.setting.task_loss_requirement is not None:
            raise InputError(
                f"setting {self.setting.name} asks selector {self._name} to stop at a loss, and only "
                f"{GAZE} predicts one: give a ratio alone"
            )
        if self._name != GAZE and axes["positions"] != "released":
            raise InputError(
                f"{axes['positions']} positions are asked of selector {self._name}, and only the decoder of "
                f"{GAZE} has any: leave them out"
            )
        self._positions = str(axes["positions"])
        self.starts = [[clip * self.chunk] for clip in range(self._count(int(axes["clips"] or 1)))]
        self._judge: Judge | None = open_judge(str(axes["judge"]), self.pipeline)
        self._videos = self.videos()
        self._select = self._selector()

    def decode(self, starts: list[int]) -> list[Any]:
        """Read one (chunk, height, width, 3) uint8 array for each start, or paint it."""
        if self._style is None:
            return super().decode(starts)
        from autogaze.datasets.synthetic import paint_clip

        return [
            paint_clip("val", self._style, self._seed, start // self.chunk, self.chunk)  # type: ignore[arg-type]
            for start in starts
        ]

    def run(self) -> list[Result]:
        import torch

        results = []
        with torch.inference_mode():
            for video in self._videos:
                with stage("gaze"):
                    gaze = self._select(video)
                with stage("reconstruct"):
                    reconstruction = self.pipeline.reconstruct(video, gaze)
                results.append(Result(video, gaze, reconstruction))
        return results

    def quality(self, output: list[Result]) -> Quality:
        """Judge as other video workloads do, and by how much of a frame's choice the next one keeps."""
        quality = super().quality(output)
        overlaps = [share for result in output for share in overlap(result.gaze).flatten().tolist()]
        if overlaps:
            quality.figures["overlap"] = sum(overlaps) / len(overlaps)
        budget = self._most_gazes()
        full = [row["gazes"] >= budget for row in quality.frames]
        quality.figures["exhausted"] = sum(full) / len(full)
        if self._judge is not None:
            name, distance = self._judge
            distances = [
                frame
                for result in output
                if result.reconstruction is not None
                for frame in distance(result.video, result.reconstruction["reconstruction"])
                .flatten()
                .tolist()
            ]
            quality.figures[name] = sum(distances) / len(distances)
        return quality

    def _count(self, most: int) -> int:
        return most if self._style is not None else max(1, min(most, self.source.frames // self.chunk))

    def _budgets(self) -> tuple[int, ...]:
        from autogaze.models.autogaze.budgets import as_ratios, budgets_of

        ratio = self.setting.gazing_ratio
        ratios = as_ratios(1.0 if ratio is None else ratio, self.chunk)
        return budgets_of(ratios, self.pipeline.gaze_model.arch.grid.patches_per_frame)

    def _most_gazes(self) -> int:
        return max(self._budgets())

    def _selector(self) -> Any:
        if self._name == GAZE:
            return self._gaze
        from autogaze.selectors import SELECTORS as FACTORIES
        from autogaze.selectors import GreedySelector

        grid, budgets = self.pipeline.gaze_model.arch.grid, self._budgets()
        if self._name == "greedy":
            select: Any = GreedySelector(grid, self.pipeline.task)
        else:
            select = FACTORIES[self._name](self._seed, grid)
        return lambda video: select(video, budgets)

    def _gaze(self, video: "Tensor") -> "GazeOutput":
        setting: GazeSetting = self.setting
        output: GazeOutput = self.pipeline.gaze_model(
            {"video": video},
            gazing_ratio=setting.gazing_ratio,
            task_loss_requirement=setting.task_loss_requirement,
            step_positions=self._positions,
            generate_only=True,
        )
        return output


def overlap(gaze: "GazeOutput") -> "Tensor":
    """Return (B, T - 1) on the host: for each frame but the first, the patches that it and the frame before
    both hold, among those that either holds (Jaccard)."""
    import torch

    chosen = torch.cat(gaze.gazing_mask, dim=-1).to("cpu", torch.float64)
    before, after = chosen[:, :-1], chosen[:, 1:]
    either = torch.maximum(before, after).sum(dim=-1)
    return (before * after).sum(dim=-1) / either.clamp(min=1)
