"""The gaze model: video in, chosen patches out."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from autogaze.checkpoints import require_fit
from autogaze.errors import InputError, refuse_unknown
from autogaze.gaze.output import GazeOutput, gazing_masks
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
from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig, of_the_config
from autogaze.models.autogaze.gazing_model import check_video
from autogaze.models.autogaze.generation import GazeRequest, StepPositions
from autogaze.models.autogaze.released_gazing_model import AutoGazeModel, unscored_gazes
from autogaze.models.autogaze.released_streaming import PAST_ARGUMENTS, Past, Pasts, follow, hand_on
from autogaze.models.autogaze.scores_later import Unscored
from autogaze.models.autogaze.tiling import Scale, Tiling, stitched, tiling_for
from autogaze.models.autogaze.vision import Connector
from autogaze.stages import stage

__all__ = ["AutoGaze", "AutoGazeModel"]


Route = Callable[..., GazeOutput]
"""Chooses patches within a request; with ``rollout`` of the first video, or tile, alone."""
_GENERATE = AutoGazeModel.generate


class AutoGaze(PreTrainedModel):  # type: ignore[misc]
    """Chooses, frame by frame, the few multi-scale patches of a video that are worth encoding.

    ``from_pretrained(folder or hub id, revision=...)`` and ``save_pretrained(folder)`` read and write the
    released checkpoint's files; every key must be there and none may be left over.
    """

    config_class = AutoGazeConfig
    base_model_prefix = "autogaze"
    main_input_name = "inputs"
    _supports_sdpa = _supports_flash_attn_2 = _supports_flash_attn = _supports_flex_attn = True

    def __init__(self, config: AutoGazeConfig) -> None:
        backend = config.take_attn_implementation()
        super().__init__(config)
        self.arch = config.architecture()
        self.gazing_model = AutoGazeModel(config.gaze_model_config, config.scales)
        self._unscored: Unscored | None = None
        if backend is not None:
            self.attn_implementation = backend
        self.post_init()

    @classmethod
    def from_pretrained(cls, source: Any, *args: Any, **kwargs: Any) -> "AutoGaze":
        """Load a folder or a hub id, ready for evaluation; ``attn_implementation`` names an attention
        backend.

        Raises :class:`InputError` unless weights and model have the same keys and shapes.
        """
        attention = kwargs.pop("attn_implementation", None)
        if isinstance(config := kwargs.get("config"), AutoGazeConfig):
            kwargs["config"] = config = copy.deepcopy(config)
            attention = attention or config.take_attn_implementation()
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
        if attention is not None:
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

    @property
    def num_vision_tokens_each_scale_each_frame(self) -> list[int]:
        return list(self.arch.grid.counts)

    @property
    def frame_sampling_rate(self) -> int:
        return self.gazing_model.frame_sampling_rate

    @property
    def attn_implementation(self) -> str:
        """Attention backend (:mod:`autogaze.attention`); may be changed at any time."""
        return self.gazing_model.attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, backend: str) -> None:
        self.gazing_model.attn_implementation = backend

    attn_mode = attn_implementation
    """The released name of it."""

    @property
    def engine(self) -> str:
        """How patches are generated (:mod:`autogaze.models.autogaze.engines`); may be changed at any time."""
        return self.gazing_model.engine

    @engine.setter
    def engine(self, name: str) -> None:
        self.gazing_model.engine = name

    gazing_ratio_config = of_the_config("gazing_ratio_config")
    gazing_ratio_each_frame_config = of_the_config("gazing_ratio_each_frame_config")
    task_loss_requirement_config = of_the_config("task_loss_requirement_config")
    has_task_loss_requirement_during_training = of_the_config("has_task_loss_requirement_during_training")
    has_task_loss_requirement_during_inference = of_the_config("has_task_loss_requirement_during_inference")

    def forward(
        self,
        inputs: Mapping[str, Any],
        *,
        gazing_ratio: Ratio | None = None,
        task_loss_requirement: Requirement | None = None,
        target_scales: Sequence[Scale] | None = None,
        target_patch_size: int | None = None,
        gazing_info: Mapping[str, Any] | None = None,
        generate_only: bool | None = None,
        temperature: float = 1.0,
        step_positions: StepPositions = "released",
        max_batch_size: int | None = None,
        engine: str | None = None,
        use_cache: bool = False,
        past_key_values: Past | None = None,
        past_inputs_embeds: Past | None = None,
        past_attention_mask: Past | None = None,
        past_conv_values: Past | None = None,
        **unknown: Any,
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
            generate_only: False scores the gazes that were chosen (a second pass): ``log_action_probs`` and
                ``task_loss_prediction``. True leaves them None. Without either they are worked out when they
                are first read, which may be done until the model is called again.
            temperature: of the sampling that training mode does instead of taking the best.
            step_positions: see :class:`~autogaze.models.autogaze.generation.GazeRequest`.
            max_batch_size: most videos, or tiles, that go through the model at once; None for the config's,
                where None is no limit. It bounds memory and changes nothing else.
            engine: ``eager``, ``native``, ``graph``, ``triton`` or ``auto``; None for the model's own
                (:mod:`~autogaze.models.autogaze.engines`). All choose the same patches in float32.
            use_cache: whether the four ``past_...`` values come back, to go on with the frames that follow;
                :class:`~autogaze.models.autogaze.streaming.GazeStream` does so with bounded memory.
            past_key_values: what an earlier output holds, to go on from there; so are the other three.
            past_inputs_embeds: ``past_input_embeds`` of the earlier output.
            past_attention_mask: likewise.
            past_conv_values: likewise.
            unknown: refused by name.

        Raises:
            InputError: for input that cannot be used.
            BackendUnavailable: for an engine or attention backend that cannot run here.
        """
        refuse_unknown(AutoGaze.forward, unknown)
        self._unscored = None
        video = check_video(inputs.get("video") if isinstance(inputs, Mapping) else None)
        tiling = tiling_for(self.arch.grid, target_scales, target_patch_size, *video.shape[-2:])
        past = (past_key_values, past_inputs_embeds, past_attention_mask, past_conv_values)
        _require_that_scores_can_be_had(tiling, gazing_info, generate_only, past)
        at_once = self._at_once(max_batch_size)
        if gazing_info:
            given = self._given(gazing_info, video)
            return self._scored(given, video, self._see(video, None, at_once), now=True)
        vision: Tensor | None = None
        if self._generates_elsewhere:
            _require_no_settings_of_ours(engine, step_positions)
            route: Route = partial(self._generate_elsewhere, _tiles(video, tiling), past, use_cache)
        elif use_cache or any(part is not None for part in past):
            _require_no_settings_of_ours(engine)
            route = partial(self._follow, _tiles(video, tiling), past, use_cache)
        else:
            vision = self._see(video, tiling, at_once)
            route = partial(self._choose, vision, at_once, engine)
        request = self._request(
            video, tiling, route, gazing_ratio, task_loss_requirement, temperature, step_positions
        )
        output = route(request)
        if tiling is not None:
            return hand_on(stitched([output], tiling), output)
        return output if generate_only else self._scored(output, video, vision, now=generate_only is False)

    def _at_once(self, most: int | None) -> int | None:
        at_once: int | None = self.config.max_batch_size if most is None else most
        if at_once is not None and at_once < 1:
            raise InputError(f"max_batch_size {at_once} must be at least 1, or None for no limit")
        return at_once

    def _see(self, video: Tensor, tiling: Tiling | None, at_once: int | None) -> Tensor:
        """Return the vision tokens of videos or of all their tiles, (videos or tiles, time, tokens, C)."""
        total = len(video) * (1 if tiling is None else tiling.tiles)
        seen = []
        for start in range(0, total, at_once or total):
            rows = range(start, min(start + (at_once or total), total))
            part = video[rows.start : rows.stop] if tiling is None else tiling.cut(video, rows)
            with stage("gaze.vision"):
                seen.append(self.gazing_model.see(part))
        return seen[0] if len(seen) == 1 else torch.cat(seen)

    def _request(
        self,
        video: Tensor,
        tiling: Tiling | None,
        route: Route,
        ratio: Ratio | None,
        requirement: Requirement | None,
        temperature: float,
        step_positions: StepPositions,
    ) -> GazeRequest:
        videos, frames = video.shape[:2]
        config, training = self.config, self.training

        def request(ratios: Tensor, requirement: Requirement | None) -> GazeRequest:
            if requirement is not None:  # (videos, frames), then the same for all tiles of a video
                requirement = as_requirement(requirement, videos, frames, video.device)
                requirement = requirement.repeat_interleave(1 if tiling is None else tiling.tiles, dim=0)
            return GazeRequest(
                budgets=budgets_of(ratios, self.arch.grid.patches_per_frame),
                requirement=requirement,
                temperature=temperature if training else None,
                step_positions=step_positions,
            )

        def rollout(caps: Tensor) -> Tensor:
            limits = request(caps, draw_requirement(config, training)).of(slice(1))
            gazes = route(limits, rollout=True).gazes_each_frame()
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

    def _choose(
        self,
        vision: Tensor,
        at_once: int | None,
        engine: str | None,
        request: GazeRequest,
        *,
        rollout: bool = False,
    ) -> GazeOutput:
        return self.gazing_model.choose(vision[:1] if rollout else vision, request, at_once, engine)

    def _follow(
        self, tiles: Tensor, past: Pasts, use_cache: bool, request: GazeRequest, *, rollout: bool = False
    ) -> GazeOutput:
        if rollout:
            raise InputError(
                "the strategy 'self' of gazing_ratio_each_frame_config looks at a clip twice, which a stream "
                "cannot: give gazing_ratio or task_loss_requirement"
            )
        return follow(self.gazing_model, tiles, request, past, use_cache=use_cache)

    @property
    def _generates_elsewhere(self) -> bool:
        """Whether someone has put another ``generate`` in the place of the gazing model's."""
        model = self.gazing_model
        return "generate" in vars(model) or getattr(type(model), "generate", None) is not _GENERATE

    @torch.no_grad()
    def _generate_elsewhere(
        self, tiles: Tensor, past: Pasts, use_cache: bool, request: GazeRequest, *, rollout: bool = False
    ) -> GazeOutput:
        """Call the gazing model's ``generate`` as the released package does."""
        settings: dict[str, Any] = {"do_sample": False}
        if request.temperature is not None:
            settings = {"do_sample": True, "temperature": request.temperature}
        if not rollout:
            handed_on = dict(zip(PAST_ARGUMENTS, past, strict=True))
            settings |= {"use_cache": use_cache, **handed_on}
        made = self.gazing_model.generate(
            tiles[:1] if rollout else tiles,
            max_gaze_tokens_each_frame=torch.tensor(request.budgets),
            task_loss_requirement=request.requirement,
            **settings,
        )
        output = self._given(made, tiles)
        return hand_on(output, made) if use_cache else output

    def _given(self, info: Mapping[str, Any], video: Tensor) -> GazeOutput:
        positions = info["gazing_pos"].to(video.device)
        padded = info["if_padded_gazing"].to(video.device, torch.bool)
        slots = torch.as_tensor(info["num_gazing_each_frame"], device=video.device)
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

    def _scored(self, output: GazeOutput, video: Tensor, vision: Tensor | None, *, now: bool) -> GazeOutput:
        """Have ``output`` scored: ``now``, or when its scores are read. ``vision`` are the tokens of the
        video; None for those still to be made."""
        unscored = unscored_gazes(self.gazing_model, video, vision, output)
        if now:
            scores = unscored.scores()
            assert scores is not None  # nothing has changed since the line above
            output.log_action_probs, output.task_loss_prediction = scores
        else:
            self._unscored = unscored
            unscored.offer(output)
        return output


def _tiles(video: Tensor, tiling: Tiling | None) -> Tensor:
    """Return the videos, or all their tiles, as one batch."""
    return video if tiling is None else tiling.cut_all(video)


def _require_that_scores_can_be_had(
    tiling: Tiling | None, gazing_info: Mapping[str, Any] | None, generate_only: bool | None, past: Pasts
) -> None:
    if tiling is not None and (gazing_info or generate_only is False):
        raise InputError("gazes on tiles cannot be scored: leave target_scales out or set generate_only=True")
    if gazing_info and any(part is not None for part in past):
        raise InputError("given gazes are scored without what came before: leave past_... or gazing_info out")
    if not generate_only and any(part is not None for part in past):
        raise InputError("frames that follow others cannot be scored: set generate_only=True")


def _require_no_settings_of_ours(engine: str | None, step_positions: StepPositions = "released") -> None:
    if engine is not None or step_positions != "released":
        raise InputError(
            "engine= and step_positions= are not handed on to streams by use_cache=, nor to what was put in "
            "place of gazing_model.generate: set model.engine, or use GazeStream"
        )


def _mismatch(key: str | tuple[str, Sequence[int], Sequence[int]]) -> str:
    """Name a key and, where transformers tells them (later than 4.51), the shapes found and wanted."""
    return key if isinstance(key, str) else f"{key[0]} {tuple(key[1])} for {tuple(key[2])}"
