"""The gaze model: video in, chosen patches out."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from autogaze.checkpoints import require_fit
from autogaze.errors import InputError
from autogaze.gaze.output import GazeOutput, gaze_output, gazing_masks
from autogaze.models.autogaze.budgets import (
    Ratio,
    Requirement,
    as_ratios,
    as_requirement,
    budgets_of,
    draw_ratio,
    draw_ratios,
    draw_requirement,
)
from autogaze.models.autogaze.configuration_autogaze import Architecture, AutoGazeConfig
from autogaze.models.autogaze.decoder import GazeDecoder
from autogaze.models.autogaze.engines import EngineRunner, choose_engine
from autogaze.models.autogaze.generation import GazeRequest, StepPositions
from autogaze.models.autogaze.scoring import score
from autogaze.models.autogaze.tiling import Scale, Tiling, stitched, tiling_for
from autogaze.models.autogaze.vision import Connector, VisionTrunk
from autogaze.stages import stage


class GazingModel(nn.Module):
    """Vision trunk, connector and decoder: everything that has weights."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.vision_model = VisionTrunk(arch)
        self.connector = Connector(arch)
        self.gaze_decoder = GazeDecoder(arch)

    def see(self, video: Tensor) -> Tensor:
        """Map a normalised video (batch, time, 3, height, width) to (batch, time, tokens, C) vision
        tokens."""
        if (
            video.is_cpu and not torch.is_grad_enabled()
        ):  # one by one, what a video becomes stays in the caches
            return torch.cat([self.see_next(one, None)[0] for one in video.split(1)])
        return self.see_next(video, None)[0]

    def see_next(self, video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Do as :meth:`see` with the frames that follow those which gave ``past`` (None: the first ones);
        return the tokens and the past of the next call."""
        size = (self.arch.image_size, self.arch.image_size)
        if video.shape[-2:] != size:
            frames = F.interpolate(video.flatten(0, 1), size=size, mode="bicubic", align_corners=False)
            video = frames.unflatten(0, video.shape[:2])
        tokens, past = self.vision_model(video.to(self.connector.pos_embed.dtype), past)
        return self.connector(tokens), past


class AutoGaze(PreTrainedModel):  # type: ignore[misc]
    """Chooses, frame by frame, the few multi-scale patches of a video that are worth encoding.

    ``from_pretrained(folder or hub id, revision=...)`` and ``save_pretrained(folder)`` read and write the
    released checkpoint's files; every key must be there and none may be left over.
    """

    config_class = AutoGazeConfig
    base_model_prefix = "autogaze"
    main_input_name = "inputs"

    attn_implementation = "sdpa"
    """Attention backend (:mod:`autogaze.attention`); may be changed at any time."""

    engine = "auto"
    """How patches are generated (:mod:`autogaze.models.autogaze.engines`); may be changed at any time."""

    def __init__(self, config: AutoGazeConfig) -> None:
        super().__init__(config)
        self.arch = config.architecture()
        self.gazing_model = GazingModel(self.arch)
        self._runner = EngineRunner()
        self.post_init()

    @classmethod
    def from_pretrained(cls, source: Any, *args: Any, **kwargs: Any) -> "AutoGaze":
        """Load a folder or a hub id, ready for evaluation; ``attn_implementation`` names an attention
        backend.

        Raises :class:`InputError` unless weights and model have the same keys and shapes.
        """
        attention = kwargs.pop("attn_implementation", cls.attn_implementation)
        kwargs.setdefault("ignore_mismatched_sizes", True)  # so that mismatches come back as data
        try:
            model, info = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)
        except OSError as error:  # what transformers raises for files that are not there
            raise InputError(
                f"checkpoint '{source}' cannot be loaded ({str(error).splitlines()[0]}); name a folder with "
                "config.json and model.safetensors, or a hub id such as nvidia/AutoGaze"
            ) from error
        require_fit(
            f"checkpoint '{source}'",
            cls.__name__,
            missing=sorted(info["missing_keys"]),
            unexpected=sorted(info["unexpected_keys"]),
            mismatched=sorted(map(_mismatch, info["mismatched_keys"])),
        )
        model.attn_implementation = attention
        return cast(AutoGaze, model)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv3d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, Connector):
            nn.init.normal_(module.pos_embed, std=0.02)
        elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
            nn.init.ones_(module.weight)
            if isinstance(module, nn.LayerNorm):
                nn.init.zeros_(module.bias)

    @property
    def scales(self) -> list[int]:
        return list(self.arch.grid.scales)

    @property
    def num_vision_tokens_each_frame(self) -> int:
        return self.arch.grid.patches_per_frame

    def forward(
        self,
        inputs: Mapping[str, Any],
        *,
        gazing_ratio: Ratio | None = None,
        task_loss_requirement: Requirement | None = None,
        target_scales: Sequence[Scale] | None = None,
        target_patch_size: int | None = None,
        gazing_info: Mapping[str, Any] | None = None,
        generate_only: bool = True,
        temperature: float = 1.0,
        step_positions: StepPositions = "released",
        max_batch_size: int | None = None,
        engine: str | None = None,
    ) -> GazeOutput:
        """Choose patches, or score given ones.

        Args:
            inputs: ``{"video": (batch, frames, 3, height, width)}``, normalised; a batch is independent
                videos.
            gazing_ratio: share of the candidate patches that may be chosen, in [0, 1]: one number, or one a
                frame. Without a requirement, exactly so many are chosen.
            task_loss_requirement: stop a frame once its predicted reconstruction loss is at or below this:
                one number, one a frame, or (batch, frames). Without a ratio there is no other limit. With
                neither, the config's strategies draw both.
            target_scales: scales of the encoder the gazes are for, when they are not the gaze model's own:
                sides of squares, or (height, width) as
                :func:`~autogaze.models.autogaze.tiling.covering_scales` gives them for any picture. The
                video must have the size of the largest, and is looked at in tiles.
            target_patch_size: patch size of that encoder in pixels.
            gazing_info: gazes to score instead of choosing: ``gazing_pos``, ``if_padded_gazing``,
                ``num_gazing_each_frame``.
            generate_only: False also scores the gazes that were chosen (a second pass):
                ``log_action_probs`` and ``task_loss_prediction``.
            temperature: of the sampling that training mode does instead of taking the best.
            step_positions: see :class:`~autogaze.models.autogaze.generation.GazeRequest`.
            max_batch_size: most videos, or tiles, that go through the model at once; None for the config's,
                where None is no limit. It bounds memory and changes nothing else.
            engine: ``eager``, ``native``, ``graph``, ``triton`` or ``auto``; None for the model's own
                (:mod:`~autogaze.models.autogaze.engines`). All choose the same patches in float32.

        Raises:
            InputError: for input that cannot be used.
            BackendUnavailable: for an engine or attention backend that cannot run here.
        """
        video = check_video(inputs.get("video") if isinstance(inputs, Mapping) else None)
        tiling = tiling_for(self.arch.grid, target_scales, target_patch_size, *video.shape[-2:])
        if tiling is not None and (gazing_info or not generate_only):
            raise InputError(
                "gazes on tiles cannot be scored: leave target_scales out or set generate_only=True"
            )
        at_once = self.config.max_batch_size if max_batch_size is None else max_batch_size
        if at_once is not None and at_once < 1:
            raise InputError(f"max_batch_size {at_once} must be at least 1, or None for no limit")
        with stage("gaze.vision"):
            vision = self._see(video, tiling, at_once)
        if gazing_info:
            output = self._given(gazing_info, vision)
        else:
            request = self._request(
                video, vision, at_once, gazing_ratio, task_loss_requirement, temperature, step_positions
            )
            output = self._choose(vision, request, at_once, engine)
        if gazing_info or not generate_only:
            self._add_scores(output, vision)
        return output if tiling is None else stitched([output], tiling)

    def _see(self, video: Tensor, tiling: Tiling | None, at_once: int | None) -> Tensor:
        """Return the vision tokens of videos or of all their tiles, (videos or tiles, time, tokens, C)."""
        total = len(video) * (1 if tiling is None else tiling.tiles)
        seen = []
        for start in range(0, total, at_once or total):
            rows = range(start, min(start + (at_once or total), total))
            part = video[rows.start : rows.stop] if tiling is None else tiling.cut(video, rows)
            seen.append(self.gazing_model.see(part))
        return seen[0] if len(seen) == 1 else torch.cat(seen)

    def _request(
        self,
        video: Tensor,
        vision: Tensor,
        at_once: int | None,
        ratio: Ratio | None,
        requirement: Requirement | None,
        temperature: float,
        step_positions: StepPositions,
    ) -> GazeRequest:
        videos, frames = video.shape[:2]
        config, training = self.config, self.training

        def request(ratios: Tensor, requirement: Requirement | None) -> GazeRequest:
            if requirement is not None:  # (videos, frames), then the same for all tiles of a video
                requirement = as_requirement(requirement, videos, frames, vision.device)
                requirement = requirement.repeat_interleave(len(vision) // videos, dim=0)
            return GazeRequest(
                budgets=budgets_of(ratios, self.arch.grid.patches_per_frame),
                requirement=requirement,
                temperature=temperature if training else None,
                step_positions=step_positions,
            )

        def rollout(caps: Tensor) -> Tensor:
            limits = request(caps, draw_requirement(config, training)).of(slice(1))
            gazes = self._choose(vision[:1], limits, at_once).gazes_each_frame()
            return gazes[0] / self.arch.grid.patches_per_frame

        if ratio is None and requirement is None:
            ratios = draw_ratios(config, training, draw_ratio(config, training), frames, rollout)
            wanted = (
                config.has_task_loss_requirement_during_training
                if training
                else config.has_task_loss_requirement_during_inference
            )
            return request(ratios, draw_requirement(config, training) if wanted else None)
        return request(as_ratios(1.0 if ratio is None else ratio, frames), requirement)

    @torch.no_grad()
    def _choose(
        self, vision: Tensor, request: GazeRequest, at_once: int | None, engine: str | None = None
    ) -> GazeOutput:
        with stage("gaze.prefill"):
            weights = self.gazing_model.gaze_decoder.weights()
        samples = request.temperature is not None
        name = choose_engine(engine or self.engine, self.arch, vision.device, vision.dtype, samples=samples)
        frames = self._runner.generate(name, weights, vision, request, self.attn_implementation, at_once)
        return gaze_output(frames, self.arch.grid, request.requirement)

    def _given(self, info: Mapping[str, Any], vision: Tensor) -> GazeOutput:
        positions = info["gazing_pos"].to(vision.device)
        padded = info["if_padded_gazing"].to(vision.device, torch.bool)
        slots = torch.as_tensor(info["num_gazing_each_frame"], device=vision.device)
        requirement = info.get("task_loss_requirement")
        return GazeOutput(
            gazing_pos=positions,
            if_padded_gazing=padded,
            num_gazing_each_frame=slots,
            gazing_mask=gazing_masks(positions, padded, len(slots), self.arch.grid),
            scales=self.scales,
            num_vision_tokens_each_frame=self.num_vision_tokens_each_frame,
            has_task_loss_requirement=requirement is not None,
            task_loss_requirement=requirement,
        )

    def _add_scores(self, output: GazeOutput, vision: Tensor) -> None:
        slots = output.num_gazing_each_frame.tolist()
        frame = torch.arange(len(slots), device=vision.device).repeat_interleave(output.num_gazing_each_frame)
        indices = output.gazing_pos - frame * self.num_vision_tokens_each_frame
        weights = self.gazing_model.gaze_decoder.weights()
        scores = score(weights, vision, indices, output.if_padded_gazing, slots, self.attn_implementation)
        output.log_action_probs = scores.log_probability
        output.task_loss_prediction = scores.task_loss_prediction


def _mismatch(key: str | tuple[str, Sequence[int], Sequence[int]]) -> str:
    """Name a key and, where transformers tells them (later than 4.51), the shapes found and wanted."""
    return key if isinstance(key, str) else f"{key[0]} {tuple(key[1])} for {tuple(key[2])}"


def check_video(video: Any) -> Tensor:
    """Return ``video`` if it is a normalised (batch, frames, 3, height, width) tensor; refuse it if not."""
    if not isinstance(video, Tensor):
        raise InputError(
            'the gaze model takes {"video": tensor}, with a (batch, frames, 3, height, width) tensor'
        )
    if video.dim() != 5 or video.shape[2] != 3 or 0 in video.shape:
        raise InputError(
            f"the video has shape {list(video.shape)}; (batch, frames, 3, height, width) is wanted"
        )
    if not video.is_floating_point():
        raise InputError(
            f"the video holds {str(video.dtype).removeprefix('torch.')}; normalise it first "
            "(AutoGazeImageProcessor), which gives float32"
        )
    # One sum tells: it is finite unless a pixel is not, and costs a single read of the video.
    if not torch.isfinite(video.sum(dtype=torch.float32)):
        raise InputError("the video has pixels that are not finite (nan or inf)")
    return video
