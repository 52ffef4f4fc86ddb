"""Encoding with SigLIP: the gazed patches of a clip, against all of them.

The encoder stands where the reconstructor stands elsewhere: ``task_checkpoint`` names its folder or hub id.
By default it has SigLIP's base size and seeded weights. Patches are chosen beforehand, in single precision
whatever the encoder computes in, so that all cells of a setting encode the same ones.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from autogaze.embedded import GAZE_FOLDER
from autogaze.stages import stage
from suites.attention import COMPILED_PARTS
from suites.axes import ENGINES
from suites.foresight import choice_of, choosing, loading, obstacle_of, resident_bytes
from suites.outlook import Effort, Efforts, Outlook
from suites.pipeline import UNTRAINED
from suites.settings import canonical_setting, parse_setting
from suites.video import AXES, ClipWorkload, calls_of
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze.gaze.packed import PackedGaze
    from autogaze.models.autogaze import GazeOutput
    from autogaze.vision_encoders.siglip import SiglipVisionOutput

DENSE = "dense"
"""The setting that encodes all patches of every scale, without a gaze."""


def _setting(name: str) -> str:
    return DENSE if name == DENSE else canonical_setting(name)


@dataclass(frozen=True)
class Call:
    """The input of one call."""

    video: "Tensor"
    """(batch, chunk, 3, size, size), normalised for the encoder."""
    gazing_info: "GazeOutput | None"
    """What the encoder is given; None to encode all patches."""
    gaze: "PackedGaze"
    """The patches it encodes."""


class Encode(ClipWorkload):
    """Encoding video that is already on the device, from patches chosen beforehand."""

    axes: ClassVar[Mapping[str, Axis]] = {
        **AXES,
        "setting": Axis("ratio_0.05", check=_setting),
        "engine": Axis("auto", known=ENGINES),
        "attn_type": Axis("block_causal", known=("block_causal", "causal", "bidirectional")),
    }
    preload: ClassVar[Sequence[str]] = (
        *ClipWorkload.preload,
        "autogaze.embedded.encoder",
        "autogaze.vision_encoders.siglip.work",
    )
    reconstructs = False

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what encoding takes, and choosing the patches before it."""
        import torch

        from autogaze.vision_encoders.siglip import SiglipVisionConfig
        from autogaze.vision_encoders.siglip.work import encoding_work

        gazing = {**axes, "dtype": "float32", "attention": "sdpa"}
        if (
            obstacle := obstacle_of(gazing, inputs) or obstacle_of({**axes, "engine": None}, inputs)
        ) is not None:
            return Outlook(obstacle)
        dense, dtype = axes["setting"] == DENSE, str(axes["dtype"])
        setting = parse_setting("ratio_1.00" if dense else str(axes["setting"]))
        choice = choice_of(gazing, inputs, setting, calls_of(axes))
        settings = {"scales": "+".join(map(str, choice.arch.grid.scales)), "attn_type": axes["attn_type"]}
        config = SiglipVisionConfig.from_dict(settings)
        size, videos = getattr(torch, dtype).itemsize, choice.batch * choice.calls
        layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
        weights = config.num_hidden_layers * layer

        def encoding(gazes: tuple[int, ...]) -> Efforts:
            return (Effort(dtype, flops=encoding_work(config, gazes, size).flops * videos),)

        compiled = (Effort(compilations=COMPILED_PARTS),) if axes["attention"] == "flex" else ()
        chosen = () if dense else choosing(choice, choice.likely)
        return Outlook(
            setup=(
                *loading(inputs.checkpoint, GAZE_FOLDER),
                Effort(random_values=weights, loaded_bytes=4 * weights, frames_read=choice.frames),
                *chosen,
                *compiled,
            ),
            repetition=encoding(choice.budgets),
            least=encoding(choice.least),
            memory_bytes=resident_bytes(2 * weights, dtype, choice.frames, choice.arch.image_size),
            certain_bytes=weights * size,
        )

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        import torch

        from autogaze.attention import require_backend
        from autogaze.checkpoints import state_hash
        from autogaze.embedded import load_encoder

        dense, attention = axes["setting"] == DENSE, str(axes["attention"])
        self.device, self.dtype = torch.device(inputs.device), getattr(torch, str(axes["dtype"]))
        backend = require_backend(attention, self.device, self.dtype)
        chosen = {"setting": "ratio_1.00"} if dense else {}
        super().__init__({**axes, "dtype": "float32", "attention": "sdpa", **chosen}, inputs)
        self.encoder, trained = load_encoder(
            inputs.task_checkpoint,
            inputs.task_revision,
            attention,
            scales="+".join(map(str, self.pipeline.gaze_model.scales)),
            attn_type=axes["attn_type"],
        )
        self.encoder.to(self.device, self.dtype)
        self.details |= {"encoder.weights": state_hash(self.encoder), "attention": attention}
        if not trained and UNTRAINED not in self.notes:
            self.notes.append(UNTRAINED)
        config = self.encoder.config
        remark = backend.remark(self.device, config.attn_type, config.frame_independent_encoding)
        if remark is not None:
            self.notes.append(remark)
        self._calls = [self._prepared(starts, dense) for starts in self.starts]

    def _prepared(self, starts: list[int], dense: bool) -> Call:
        import numpy as np
        import torch

        from autogaze.gaze.patch_embedding import all_patches
        from autogaze.video.preprocessing import fit_frames, normalize
        from autogaze.vision_encoders.siglip.configuration_siglip import PIXEL_SCALE

        clips, grid = self.decode(starts), self.encoder.config.grid
        pictures = [
            normalize(fit_frames(clip, grid.scales[-1], self.pipeline.geometry), PIXEL_SCALE)
            for clip in clips
        ]
        video = torch.from_numpy(np.stack(pictures)).to(self.device, self.dtype)
        if dense:
            return Call(video, None, all_patches(self.batch, self.chunk, grid, self.device))
        with torch.inference_mode():
            gaze = self.pipeline.gaze(self.pipeline.preprocess(clips), self.setting)
        return Call(video, gaze, gaze.packed())

    def run(self) -> list["SiglipVisionOutput"]:
        import torch

        results = []
        with torch.inference_mode():
            for call in self._calls:
                with stage("encode"):
                    results.append(self.encoder(call.video, gazing_info=call.gazing_info))
        return results

    def quality(self, output: list["SiglipVisionOutput"]) -> Quality:
        """Name the patches that were encoded and count the work; features have no quality of their own.

        Raises ``ValueError`` for features that are not finite: such a cell has measured nothing.
        """
        digest = hashlib.sha256()
        frames: list[dict[str, float]] = []
        counters: Counter[str] = Counter()
        for number, (call, encoded) in enumerate(zip(self._calls, output, strict=True)):
            if not bool(encoded.last_hidden_state.isfinite().all()):
                raise ValueError("the encoder's features are not finite")
            digest.update(call.gaze.places().cpu().numpy().astype("<i8").tobytes())
            counters.update(self._work(call))
            for video, gazes in enumerate(call.gaze.gazes_each_frame):
                clip = number * self.batch + video
                frames += [{"clip": clip, "frame": t, "gazes": n} for t, n in enumerate(gazes)]
        return Quality(digest.hexdigest()[:16], frames, dict(counters))

    def _work(self, call: Call) -> dict[str, float]:
        from autogaze.vision_encoders.siglip.work import encoding_work
        from autogaze.work import Work

        gaze, size = call.gaze, call.video.element_size()
        work = sum(
            (encoding_work(self.encoder.config, gazes, size) for gazes in gaze.gazes_each_frame), Work()
        )
        selected = len(gaze.positions)
        return {
            "clips": gaze.batch,
            "frames": gaze.batch * gaze.frames,
            "candidate_patches": gaze.batch * gaze.frames * gaze.num_vision_tokens_each_frame,
            "selected_patches": selected,
            "padded_patches": gaze.batch * sum(gaze.num_gazing_each_frame) - selected,
            "flops": work.flops,
            "bytes": work.bytes,
        }
