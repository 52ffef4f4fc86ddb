"""The gazing model: vision trunk, connector and decoder, which is everything that has weights."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autogaze.errors import BackendUnavailable, InputError
from autogaze.gaze.output import GazeOutput, gaze_output
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import DecoderWeights, GazeDecoder
from autogaze.models.autogaze.engines import ENGINES, EngineRunner, choose_engine
from autogaze.models.autogaze.generation import GazeRequest
from autogaze.models.autogaze.scoring import Scores, score
from autogaze.models.autogaze.true_float32 import true_float32
from autogaze.models.autogaze.vision import Connector, VisionTrunk
from autogaze.stages import stage


class GazingModel(nn.Module):
    """Vision trunk, connector and decoder, and the ways to generate with them."""

    engine = "auto"
    """How patches are generated (:mod:`autogaze.models.autogaze.engines`); may be changed at any time."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.vision_model = VisionTrunk(arch)
        self.connector = Connector(arch)
        self.gaze_decoder = GazeDecoder(arch)
        self._runner = EngineRunner()

    @property
    def attn_implementation(self) -> str:
        """Attention backend (:mod:`autogaze.attention`); may be changed at any time."""
        return self.gaze_decoder.model.attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, backend: str) -> None:
        self.gaze_decoder.model.attn_implementation = backend

    def see(self, video: Tensor) -> Tensor:
        """Map a normalised video (batch, time, 3, height, width) to (batch, time, tokens, C) vision
        tokens."""
        if video.is_cpu and not torch.is_grad_enabled() and len(video) > 1:
            # One by one, what a video becomes stays in the caches.
            return torch.cat([self.see_next(one, None)[0] for one in video.split(1)])
        return self.see_next(video, None)[0]

    def see_next(self, video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Do as :meth:`see` with the frames that follow those which gave ``past`` (None: the first ones);
        return the tokens and the past of the next call."""
        size = (self.arch.image_size, self.arch.image_size)
        if video.shape[-2:] != size:
            frames = F.interpolate(video.flatten(0, 1), size=size, mode="bicubic", align_corners=False)
            video = frames.unflatten(0, video.shape[:2])
        return self.see_exactly(video.to(self.connector.pos_embed.dtype), past)

    def see_exactly(self, video: Tensor, past: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Do as :meth:`see_next` with frames that have the model's own size and data type."""
        features, past = self.vision_model(video, use_cache=True, past_conv_values=past)
        tokens = features.permute(0, 2, 3, 4, 1).flatten(2, 3)  # (batch, time, tokens, channels)
        return self.connector(tokens), past

    def choose_engine(self, name: str | None, *, samples: bool = False) -> str:
        """Return the engine that ``name`` (None for the model's own) means for this model as it is.

        What hangs on a module of the decoder (hooks, adapters) counts in the plain engine only: ``auto`` is
        then ``eager``, with a warning.

        Raises:
            BackendUnavailable: for an engine that cannot run here, or would pass over what hangs there.
        """
        name = name or self.engine
        alteration = self.gaze_decoder.alteration()
        if alteration is not None and name == "auto":
            warnings.warn(f"engine 'eager' is used, since others would ignore {alteration}", stacklevel=2)
            name = "eager"
        if alteration is not None and name in ENGINES and name != "eager":
            raise BackendUnavailable(
                f"engine '{name}' computes with parameters alone and would ignore {alteration}; use 'eager'"
            )
        like = self.connector.pos_embed
        return choose_engine(name, self.arch, like.device, like.dtype, samples=samples)

    def version(self) -> tuple[object, ...]:
        """Return what stays equal as long as nobody changes the weights, or what hangs on the decoder."""
        weights = ((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.parameters())
        return self.gaze_decoder.alteration(), *weights

    def decoder_weights(self) -> DecoderWeights:
        """Return the decoder in the form to compute with."""
        return self.gaze_decoder.weights()

    @torch.no_grad()
    def choose(
        self, vision: Tensor, request: GazeRequest, at_once: int | None = None, engine: str | None = None
    ) -> GazeOutput:
        """Choose patches for ``vision`` tokens (batch, frames, tokens, C), ``at_once`` videos at a time."""
        with stage("gaze.prefill"):
            weights = self.decoder_weights()
        name = self.choose_engine(engine, samples=request.temperature is not None)
        with true_float32():
            frames = self._runner.generate(name, weights, vision, request, self.attn_implementation, at_once)
        return gaze_output(frames, self.arch.grid, request.requirement)

    def engine_remarks(self) -> list[str]:
        """Return what the engines that have run had to do otherwise on this device, such as another variant
        of a kernel that is too large for it."""
        return self._runner.remarks()

    def score(self, vision: Tensor, positions: Tensor, padded: Tensor, slots: list[int]) -> Scores:
        """Score gazes (batch, N), given the vision tokens of their videos, as the released model does."""
        frame = torch.arange(len(slots)).repeat_interleave(torch.tensor(slots)).to(vision.device)
        indices = positions - frame * self.arch.grid.patches_per_frame
        return score(self.decoder_weights(), vision, indices, padded, slots, self.attn_implementation)


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
