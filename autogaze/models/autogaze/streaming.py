"""Choosing patches of videos that have no end, a frame at a time and in bounded memory."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from autogaze.checkpoints import state_hash
from autogaze.errors import InputError, unknown_name
from autogaze.gaze.output import GazeOutput, gaze_output
from autogaze.models.autogaze.budgets import Ratio, Requirement, as_ratios, as_requirement, budgets_of
from autogaze.models.autogaze.engines import ENGINES, bind_for_stream
from autogaze.models.autogaze.gazing_model import GazingModel, check_video
from autogaze.models.autogaze.generation import GazeRequest, StepPositions, generate_frame
from autogaze.models.autogaze.state import GenerationState
from autogaze.models.autogaze.true_float32 import true_float32
from autogaze.stages import stage

StreamPolicy = Literal["reset", "slide", "keep"]
"""What is forgotten when a stream remembers ``window`` frames and another one comes.

``reset``: everything. Each run of ``window`` frames gets exactly the patches that an offline call on it would
choose.

``slide``: the oldest frame. Keys and values of the others are kept as they were computed, in the light of
frames since forgotten, so beyond the first ``window`` frames there is no offline call with the same result.

``keep``: nothing. Memory grows with the stream, and ``window`` is what there is room for at first.
"""


class GazeStream:
    """Chooses patches of frames as they come, for one or several videos in step.

    The first ``window`` frames get the patches that the offline call, ``model({"video": frames}, ...)``,
    chooses for them in evaluation mode; from then on memory is constant. The decoder's weights, and what
    hangs on its modules, are those at the time the stream began.

    Args:
        model: the gaze model (:class:`~autogaze.models.autogaze.AutoGaze`), or its ``gazing_model``.
        batch: number of videos, each of which may be a camera of its own.
        gazing_ratio: share of the candidate patches that may be chosen of a frame, in [0, 1]; with ``reset``
            also one for each frame between two resets. None is no limit but the requirement.
        task_loss_requirement: stop a frame once its predicted reconstruction loss is at or below this: a
            number or a (batch, 1) tensor; with ``reset`` also one for each frame between two resets, or
            (batch, window). None is no requirement.
        policy: what is forgotten in streams longer than ``window``.
        window: most frames remembered; None for as many as the model was trained with.
        step_positions: see :class:`~autogaze.models.autogaze.generation.GazeRequest`.

    Steps are taken by the model's engine. Those that capture do so with the first frame.

    Raises:
        InputError: for settings that cannot be used, such as neither ratio nor requirement.
        BackendUnavailable: for an engine that cannot run here.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        batch: int = 1,
        gazing_ratio: Ratio | None = None,
        task_loss_requirement: Requirement | None = None,
        policy: StreamPolicy = "reset",
        window: int | None = None,
        step_positions: StepPositions = "released",
    ) -> None:
        gazing = getattr(model, "gazing_model", model)
        if not isinstance(gazing, GazingModel):
            raise InputError(
                f"a stream needs the gaze model (AutoGaze), and was given a {type(model).__name__}"
            )
        if window is None and not hasattr(model, "config"):
            raise InputError("a stream of a gazing_model alone needs window=, in frames")
        window = int(cast(Any, model).config.max_num_frames) if window is None else window
        _check_settings(batch, policy, window)
        if gazing_ratio is None and task_loss_requirement is None:
            raise InputError("a stream needs gazing_ratio, task_loss_requirement or both, and got neither")
        self.model, self.batch, self.policy, self.window = model, batch, policy, window
        self._gazing = gazing
        self.frames_seen = 0
        """Frames pushed since the start; the next frame has this number."""
        self._frame_size: tuple[int, int] | None = None
        self._past: list[Tensor] | None = None
        like = gazing.connector.pos_embed
        self._engine = gazing.choose_engine(None)
        self._bind = bind_for_stream(self._engine)
        # A frame's limits depend on its place between two resets, or are the same for all.
        period = window if policy == "reset" else 1
        # The state is written in place later; tensors made in inference mode would not allow that outside.
        with torch.inference_mode(False), torch.no_grad():
            self._ratios = as_ratios(1.0 if gazing_ratio is None else gazing_ratio, period)
            requirement = None
            if task_loss_requirement is not None:
                requirement = as_requirement(task_loss_requirement, batch, period, like.device)
            budgets = budgets_of(self._ratios, gazing.arch.grid.patches_per_frame)
            self._request = GazeRequest(budgets, requirement, step_positions=step_positions)
            self._weights, self._alteration = gazing.decoder_weights(), gazing.gaze_decoder.alteration()
            self._state = self._room_for(budgets * (window // period))

    @torch.no_grad()
    def push(self, frames: Tensor) -> GazeOutput:
        """Choose patches of the next frame, or of the next n.

        ``frames`` are (batch, 3, height, width) or (batch, n, 3, height, width), normalised.
        Returns the gazes as an encoder of these frames wants them: positions count from the first
        of them, which is number ``frames_seen - n`` of the stream.

        Raises:
            InputError: for frames of another size or number of videos, or that are no normalised pictures.
                The stream is then as it was before.
        """
        video = self._checked(frames)
        period = len(self._request.budgets)
        places = [(self.frames_seen + number) % period for number in range(video.shape[1])]
        return self._push(video, self._request, places)

    @torch.no_grad()
    def push_within(self, frames: Tensor, request: GazeRequest) -> GazeOutput:
        """Do as :meth:`push` within other limits than the stream's own: those of ``request``, which is of
        these frames alone. Only a stream that keeps everything can make room for them."""
        if self.policy != "keep":
            raise InputError(f"a stream of policy '{self.policy}' has one set of limits; 'keep' takes others")
        video = self._checked(frames)
        return self._push(video, request, range(video.shape[1]))

    def _push(self, video: Tensor, request: GazeRequest, places: Sequence[int]) -> GazeOutput:
        """Choose patches of frames that were checked; ``places`` say which of the request's limits are
        each frame's."""
        if self._gazing.gaze_decoder.alteration() != self._alteration:
            raise InputError(
                "hooks or adapters were put on the gaze decoder, or taken off, since the stream began: begin "
                "another one"
            )
        self._frame_size = (video.shape[-2], video.shape[-1])
        chosen = []
        for frame, t in zip(video.split(1, dim=1), places, strict=True):
            self._make_room(request.budgets[t])
            with stage("gaze.vision"):
                vision, self._past = self._gazing.see_next(frame, self._past)
            tokens = vision[:, 0]
            with true_float32():
                chosen.append(generate_frame(self._weights, self._state, tokens, request, t, self._bind))
            self.frames_seen += 1
        required = None if request.requirement is None else request.requirement[:, list(places)]
        return gaze_output(chosen, self._gazing.arch.grid, required)

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`load` needs to go on, in tensors and plain values that ``torch.save`` can
        write; the tensors are copies of what is remembered."""
        return {
            "weights": state_hash(self.model),
            "settings": {
                "batch": self.batch,
                "gazing_ratio": self._ratios.clone(),
                "task_loss_requirement": self._request.requirement,
                "policy": self.policy,
                "window": self.window,
                "step_positions": self._request.step_positions,
            },
            "frames_seen": self.frames_seen,
            "frame_size": self._frame_size,
            "past": self._past,
            "decoder": self._state.state_dict(),
        }

    @classmethod
    def load(cls, model: nn.Module, state: Mapping[str, Any]) -> "GazeStream":
        """Return a stream that goes on where the one that gave ``state`` was.

        Raises:
            InputError: if ``state`` is incomplete, or comes from a model with other weights.
        """
        if missing := {"weights", "settings", "frames_seen", "frame_size", "past", "decoder"} - set(state):
            raise InputError(
                f"the state of a stream lacks {', '.join(sorted(missing))}: give what "
                "GazeStream.state_dict() returned"
            )
        if (found := state_hash(model)) != state["weights"]:
            raise InputError(
                f"the stream was saved with weights {state['weights']} and the model has {found}: load the "
                "checkpoint, in the data type, that the stream was begun with"
            )
        stream = cls(model, **state["settings"])
        stream.frames_seen, stream._frame_size = state["frames_seen"], state["frame_size"]
        if state["past"] is not None:
            device, width = stream._gazing.connector.pos_embed.device, stream._gazing.arch.vision_width
            # States of earlier versions have the channels last.
            in_order = (
                past if past.shape[1] == width else past.permute(0, 4, 1, 2, 3) for past in state["past"]
            )
            stream._past = [past.to(device) for past in in_order]
        if stream.policy == "keep":
            stream._grow(_used(state["decoder"]["frame_ends"]), 1)
        stream._state.load_state_dict(state["decoder"])
        return stream

    def _room_for(self, budgets: Sequence[int]) -> GenerationState:
        """Return an empty state with room for a frame of each of the ``budgets``."""
        self._most, gazing = max(budgets), self._gazing
        like, attention = gazing.connector.pos_embed, gazing.attn_implementation
        whole = ENGINES[self._engine].captures
        return GenerationState.allocate(gazing.arch, self.batch, budgets, like, attention, whole=whole)

    def _make_room(self, budget: int) -> None:
        if self.policy == "keep":
            self._grow(_used(self._state.frame_ends), budget)
        elif self._state.frames < self.window:
            return
        elif self.policy == "slide":
            self._state.forget_oldest_frame()
        else:
            self._state.forget_all()
            self._past = None

    @torch.inference_mode(False)
    @torch.no_grad()
    def _grow(self, used: int, budget: int) -> None:
        """Have room for a frame of ``budget`` gazes behind ``used`` tokens: twice what is needed, if there is
        not enough."""
        arch, most = self._gazing.arch, max(budget, self._most)
        needed = used + arch.vision_tokens + most + arch.group
        if needed <= self._state.cache.capacity and budget <= self._most:
            return
        larger = self._room_for([most] * -(-2 * needed // (arch.vision_tokens + most)))
        if self._state.frames:
            larger.load_state_dict(self._state.state_dict())
        self._state = larger

    def _checked(self, frames: Tensor) -> Tensor:
        if isinstance(frames, Tensor) and frames.dim() == 4:
            frames = frames[:, None]
        video = check_video(frames)
        if len(video) != self.batch:
            raise InputError(
                f"frames of {len(video)} videos came to a stream of {self.batch}: push as many as the stream "
                "was begun with"
            )
        size = (video.shape[-2], video.shape[-1])
        if self._frame_size is not None and self._frame_size != size:
            height, width = self._frame_size
            raise InputError(
                f"a frame of {size[0]}x{size[1]} pixels came after frames of {height}x{width}: resize it, or "
                "begin another stream"
            )
        return video


def _used(frame_ends: Sequence[Sequence[int]]) -> int:
    """Return how many tokens the fullest video has."""
    return max(frame_ends[-1]) if frame_ends else 0


def _check_settings(batch: int, policy: str, window: int) -> None:
    if batch < 1:
        raise InputError(f"batch {batch} of a stream must be at least 1 video")
    if policy not in get_args(StreamPolicy):
        raise unknown_name("stream policy", policy, get_args(StreamPolicy))
    if window < 1:
        raise InputError(f"window {window} of a stream must be at least 1 frame")
