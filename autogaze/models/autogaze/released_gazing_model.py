"""The gazing model under its released name, with the released calls over the same weights and engines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.utils import ModelOutput

from autogaze.errors import InputError, refuse_unknown
from autogaze.models.autogaze.budgets import as_requirement
from autogaze.models.autogaze.configuration_autogaze import GazeModelConfig, architecture_of
from autogaze.models.autogaze.gazing_model import GazingModel, check_video
from autogaze.models.autogaze.generation import GazeRequest
from autogaze.models.autogaze.hooks import hooked
from autogaze.models.autogaze.released_streaming import PASTS, Past, follow
from autogaze.models.autogaze.scores_later import Unscored

LEAST_PROBABILITY = 1e-8
"""Added to every probability before its logarithm is taken."""

NO_PROCESSORS = (
    "; logits are not processed here, and which patches may be chosen is up to the engine (engine=, "
    "or GazeStream for frame after frame)"
)


@dataclass
class AutoGazeModelOutput(ModelOutput):  # type: ignore[misc]
    """What calling the gazing model returns: both (batch, gazes)."""

    gaze_probs: Tensor | None = None
    """Probability of each gaze; of EOS where it is padding."""
    task_loss_prediction: Tensor | None = None
    """Reconstruction loss predicted after each gaze."""


class AutoGazeModel(GazingModel):
    """``model.gazing_model``, as the released package names and calls it.

    Args:
        gaze_model_config: the part of that name of ``config.json``.
        scales: of the patch grid, as ``config.json`` has them; None for the released grid, or for a single
            scale of the input's size, whichever has as many patches as the configuration says.
    """

    def __init__(self, gaze_model_config: Mapping[str, Any], scales: str | int | None = None) -> None:
        config = gaze_model_config
        if not isinstance(config, GazeModelConfig):
            config = GazeModelConfig(config)
        super().__init__(architecture_of(config, scales))
        self.gaze_decoder_config = config.gaze_decoder_config

    @property
    def input_img_size(self) -> int:
        """Side in pixels of what the vision model looks at."""
        return self.arch.image_size

    @property
    def num_vision_tokens_each_frame(self) -> int:
        """Candidate patches of a frame."""
        return self.arch.grid.patches_per_frame

    @property
    def num_multi_token_pred(self) -> int:
        """Patches chosen in one step."""
        return self.arch.group

    @property
    def frame_sampling_rate(self) -> int:
        """Every frame is looked at."""
        return 1

    @property
    def logits_processor(self) -> None:
        """Refuse: there are none."""
        raise InputError(f"gazing_model has no logits_processor{NO_PROCESSORS}")

    @logits_processor.setter
    def logits_processor(self, value: object) -> None:
        raise InputError(f"gazing_model takes no logits_processor{NO_PROCESSORS}")

    def forward(self, video: Tensor, gazing_info: Mapping[str, Any], **unknown: Any) -> AutoGazeModelOutput:
        """Score given gazes of a (batch, frames, 3, height, width) video."""
        refuse_unknown(AutoGazeModel.forward, unknown)
        video = check_video(video)
        positions = gazing_info["gazing_pos"].to(video.device)
        padded = gazing_info["if_padded_gazing"].to(video.device, torch.bool)
        slots = torch.as_tensor(gazing_info["num_gazing_each_frame"]).tolist()
        scores = self.score(self.see(video), positions, padded, slots)
        return AutoGazeModelOutput(scores.log_probability.exp(), scores.task_loss_prediction)

    def embed(
        self,
        video: Tensor | None = None,
        gaze_pos_ids: Sequence[Tensor] | None = None,
        use_cache: bool = False,
        past_conv_values: Sequence[Tensor] | None = None,
        **unknown: Any,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], list[Tensor] | None]:
        """Embed frames and their gazes, in the order in which the decoder reads them.

        Args:
            video: (batch, frames, 3, size, size), of the model's own size.
            gaze_pos_ids: for each frame (batch, n) patch indices, EOS where a slot is padded.
            use_cache: whether ``past_conv_values`` count.
            past_conv_values: of the frames before, as the last value returned.

        Returns:
            Four lists, a part after the other, with a frame's vision tokens before its gazes: embeddings
            (batch, n, C); 1 at gazes and 0 at vision tokens, (n,); how far before each token it is predicted,
            (n,), -1 for vision tokens; 0 at padding and 1 elsewhere, (batch, n). And past convolution values.
        """
        refuse_unknown(AutoGazeModel.embed, unknown)
        if video is None and gaze_pos_ids is None:
            raise InputError("embed was given neither video nor gaze_pos_ids")
        past, parts = None, []
        if video is not None:
            self._require_own_size(video)
            before = list(past_conv_values) if use_cache and past_conv_values is not None else None
            tokens, past = super().see_exactly(video, before)
            parts.append([self._vision_part(frame) for frame in tokens.unbind(1)])
        if gaze_pos_ids is not None:
            parts.append([self._gaze_part(indices) for indices in gaze_pos_ids])
        if len({len(part) for part in parts}) > 1:
            raise InputError(f"the video has {len(parts[0])} frames, gaze_pos_ids {len(parts[1])}")
        in_order = [part for frame in zip(*parts) for part in frame]
        embeds, is_gaze, source, mask = (list(values) for values in zip(*in_order))
        return embeds, is_gaze, source, mask, past

    def see_exactly(self, video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Do as :meth:`GazingModel.see_exactly`, through what was put in place of :meth:`embed`, if so."""
        if "embed" not in vars(self):
            return super().see_exactly(video, past)
        embeds, *_, past = self.embed(video=video, use_cache=True, past_conv_values=past)
        return torch.stack(embeds, dim=1), past or []

    def _vision_part(self, tokens: Tensor) -> tuple[Tensor, ...]:
        batch, count = tokens.shape[:2]
        nothing = torch.zeros(count, dtype=torch.int64, device=tokens.device)
        return tokens, nothing, nothing - 1, torch.ones_like(nothing).repeat(batch, 1)

    def _gaze_part(self, indices: Tensor) -> tuple[Tensor, ...]:
        count = torch.arange(indices.shape[1], device=indices.device)
        embedded: Tensor = self.gaze_decoder.model.embed_tokens(indices)
        return (
            embedded,
            torch.ones_like(count),
            -(count % self.arch.group + 1),
            (indices != self.arch.eos).long(),
        )

    def _require_own_size(self, video: Tensor) -> None:
        size = self.arch.image_size
        if video.dim() != 5 or video.shape[-2:] != (size, size):
            raise InputError(
                f"embed was given a video of shape {list(video.shape)}; (batch, frames, 3, {size}, {size}) "
                "is wanted"
            )

    @torch.no_grad()
    def generate(
        self,
        video: Tensor,
        max_gaze_tokens_each_frame: int | Sequence[int] | Tensor = 100,
        task_loss_requirement: Tensor | float | None = None,
        use_cache: bool = False,
        past_key_values: Past | None = None,
        past_inputs_embeds: Past | None = None,
        past_attention_mask: Past | None = None,
        past_conv_values: Past | None = None,
        do_sample: bool = False,
        temperature: float = 1.0,
        **unknown: Any,
    ) -> dict[str, Any]:
        """Choose patches of a (batch, frames, 3, height, width) video.

        Args:
            video: normalised; it is resized to the model's own size.
            max_gaze_tokens_each_frame: most patches of a frame: one number, or one a frame.
            task_loss_requirement: stop a frame once its predicted loss is at or below this: a number, one a
                frame, or (batch, frames).
            use_cache: whether the four ``past_...`` values come back, to go on with the frames that follow.
            past_key_values: what an earlier call returned; so are the other three.
            past_inputs_embeds: ``past_input_embeds`` of the earlier call.
            past_attention_mask: likewise.
            past_conv_values: likewise.
            do_sample: draw patches from the softmax of logits over ``temperature``, not take the best.
            temperature: of that.
            unknown: refused by name.

        Returns:
            ``gazing_pos``, ``if_padded_gazing``, ``num_gazing_each_frame``, ``task_loss_requirement`` as in
            :class:`~autogaze.gaze.output.GazeOutput`, and ``past_...``.
        """
        refuse_unknown(
            AutoGazeModel.generate, unknown, NO_PROCESSORS if "logits_processor" in unknown else ""
        )
        video = check_video(video)
        batch, frames = video.shape[:2]
        requirement = task_loss_requirement
        if requirement is not None:
            requirement = as_requirement(requirement, batch, frames, video.device)
        budgets = self._budgets(max_gaze_tokens_each_frame, frames)
        request = GazeRequest(budgets, requirement, temperature if do_sample else None)
        past = (past_key_values, past_inputs_embeds, past_attention_mask, past_conv_values)
        if use_cache or any(part is not None for part in past):
            output = follow(self, video, request, past, use_cache=use_cache)
        else:
            output = self.choose(self.see(video), request)
        keys = ("gazing_pos", "num_gazing_each_frame", "if_padded_gazing", "task_loss_requirement", *PASTS)
        return {key: output[key] for key in keys}

    def _budgets(self, most: int | Sequence[int] | Tensor, frames: int) -> tuple[int, ...]:
        values = torch.as_tensor(most).flatten().tolist()
        values = values * frames if len(values) == 1 else values
        if len(values) != frames or any(value != int(value) or value < 1 for value in values):
            raise InputError(
                f"max_gaze_tokens_each_frame is {most}; give one whole number from 1, or one for each of "
                f"{frames} frames"
            )
        return tuple(min(int(value), self.arch.grid.patches_per_frame) for value in values)


def unscored_gazes(
    model: GazingModel, video: Tensor, vision: Tensor | None, gazes: Mapping[str, Any]
) -> Unscored:
    """Return how to score the ``gazes`` of a video, of which ``vision`` are the tokens, if they are there.

    Where something stands in place of the gazing model, or of its forward, or hangs on it, it is called.
    """
    if type(model) is AutoGazeModel and not hooked(model):
        slots = gazes["num_gazing_each_frame"].tolist()

        def score() -> tuple[Tensor, Tensor]:
            seen = model.see(video) if vision is None else vision
            made = model.score(seen, gazes["gazing_pos"], gazes["if_padded_gazing"], slots)
            least = made.log_probability.new_tensor(LEAST_PROBABILITY).log()
            return torch.logaddexp(made.log_probability, least), made.task_loss_prediction
    else:

        def score() -> tuple[Tensor, Tensor]:
            made = model(video, gazes)
            return (made.gaze_probs + LEAST_PROBABILITY).log(), made.task_loss_prediction

    return Unscored(score, model.version if isinstance(model, GazingModel) else tuple, video.device.type)
