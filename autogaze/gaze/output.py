"""The output of the gaze model and of every other patch selector."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.packed import PackedGaze, count_gazes


class KeyedOutput(Mapping[str, Any]):
    """Base of dataclasses whose fields are also the keys of a mapping."""

    def __getitem__(self, key: str) -> Any:
        if key not in self._names():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    @classmethod
    def _names(cls) -> list[str]:
        return [field.name for field in fields(cls)]  # type: ignore[arg-type]  # every child is a dataclass


Scorer = Callable[[], tuple[Tensor, Tensor] | None]
"""Returns the log-probabilities and predicted losses of an output's gazes; None where they can no longer be
had."""


class OnDemand:
    """A field of :class:`GazeOutput` that is worked out when it is first read, if someone offered to."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._place = f"_{name}"

    def __get__(self, output: "GazeOutput | None", owner: type | None = None) -> Tensor | None:
        if output is None:
            return None  # the dataclass's default
        output.score()
        value: Tensor | None = getattr(output, self._place)
        return value

    def __set__(self, output: "GazeOutput", value: Tensor | None) -> None:
        setattr(output, self._place, value)


@dataclass(eq=False)
class GazeOutput(KeyedOutput):
    """The patches chosen in a batch of videos, readable by key and by attribute.

    With B videos, T frames and N slots: a *slot* is a place in the output for one gaze. Frame ``t`` has
    ``num_gazing_each_frame[t]`` slots, as many as the video with most gazes in that frame needs; the others
    are padded.

    A padded slot of frame ``t`` holds ``patches_per_frame * (t + 1)``, which is also a valid position of the
    next frame: only ``if_padded_gazing`` tells padding.
    """

    gazing_pos: Tensor
    """(B, N) int64: gaze positions, ``frame * patches_per_frame + patch index``, in the order they were
    chosen."""
    if_padded_gazing: Tensor
    """(B, N) bool: True where the slot holds no gaze."""
    num_gazing_each_frame: Tensor
    """(T,) int64: slots in each frame, padding included."""
    gazing_mask: list[Tensor]
    """One (B, T, patches of the scale) float tensor of zeros and ones for each scale."""
    scales: list[int]
    """Side lengths of the scales in pixels, ascending; heights where the picture is not square."""
    num_vision_tokens_each_frame: int
    """Candidate patches in each frame, over all scales."""
    frame_sampling_rate: int = 1
    log_action_probs: OnDemand = OnDemand()
    """(B, N) log-probability of each gaze, or None where nobody scores; worked out when it is first read."""
    task_loss_prediction: OnDemand = OnDemand()
    """(B, N) predicted reconstruction loss after each slot; likewise."""
    has_task_loss_requirement: bool = False
    task_loss_requirement: Tensor | None = None
    """(B, T) requested reconstruction loss."""
    past_key_values: Any = None
    """What a released call with ``use_cache`` hands on to the next; so are the other three."""
    past_input_embeds: Any = None
    past_attention_mask: Any = None
    past_conv_values: Any = None

    def __post_init__(self) -> None:
        self._scorer: Scorer | None = None

    def score_later(self, scorer: Scorer) -> None:
        """Have the scores worked out by ``scorer`` once one of them is read."""
        self._scorer = scorer

    def score(self) -> None:
        """Work out the scores, if that was put off.

        Raises:
            InputError: if it is too late.
        """
        if self._scorer is None:
            return
        scores = self._scorer()
        if scores is None:
            raise InputError(
                "these gazes were not scored, and the model has been called again or trained since: read "
                "log_action_probs before, or call with generate_only=False"
            )
        self._scorer = None
        self.log_action_probs, self.task_loss_prediction = scores

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: scores that can still be had, but no way to have them."""
        if self._scorer is not None and (scores := self._scorer()) is not None:
            self._scorer = None
            self.log_action_probs, self.task_loss_prediction = scores
        return {**vars(self), "_scorer": None if self._scorer is None else _too_late}

    def gazes_each_frame(self) -> Tensor:
        """Return (B, T) int64: gazes that are not padding, on the host."""
        return count_gazes(self.if_padded_gazing, self.num_gazing_each_frame.tolist())

    def packed(self) -> PackedGaze:
        """Return the gazes without padding: all videos in one row, which encoders take as they take this."""
        return PackedGaze.from_padded(
            self.gazing_pos,
            self.if_padded_gazing,
            self.num_gazing_each_frame.tolist(),
            self.num_vision_tokens_each_frame,
        )

    def agreement(self, other: "GazeOutput") -> Tensor:
        """Return (B, T) float64 on the host: the share of each frame's patches that ``other`` chose too.

        It is a share of the larger of the two choices, whatever their order, and 1 where neither chose any.
        """
        ours, theirs = (
            torch.cat(gaze.gazing_mask, dim=-1).to("cpu", torch.float64) for gaze in (self, other)
        )
        most = torch.maximum(ours.sum(dim=-1), theirs.sum(dim=-1))
        return torch.where(most > 0, (ours * theirs).sum(dim=-1) / most.clamp(min=1), 1.0)

    def patch_hash(self, video: int = 0) -> str:
        """Return 16 hexadecimal digits that name the chosen patches of one video, order included, padding
        not."""
        real = self.gazing_pos[video][~self.if_padded_gazing[video]].to("cpu", torch.int64)
        return hashlib.sha256(real.numpy().astype("<i8").tobytes()).hexdigest()[:16]


def _too_late() -> None:
    return None


def gazing_masks(gazing_pos: Tensor, if_padded_gazing: Tensor, frames: int, grid: PatchGrid) -> list[Tensor]:
    """Return one (B, frames, patches of the scale) mask of zeros and ones for each scale of ``grid``."""
    batch, places = gazing_pos.shape[0], frames * grid.patches_per_frame
    mask = torch.zeros(batch, places + 1, device=gazing_pos.device)
    mask.scatter_(1, gazing_pos.masked_fill(if_padded_gazing, places), 1.0)
    return list(mask[:, :-1].view(batch, frames, grid.patches_per_frame).split(grid.counts, dim=-1))


def gaze_output(frames: list[Tensor], grid: PatchGrid, requirement: Tensor | None) -> GazeOutput:
    """Return the patch indices of each frame, as :func:`generate` gives them, as gaze positions."""
    eos = grid.patches_per_frame
    positions = torch.cat([frame + eos * t for t, frame in enumerate(frames)], dim=1)
    padded = torch.cat(frames, dim=1) == eos
    return GazeOutput(
        gazing_pos=positions,
        if_padded_gazing=padded,
        num_gazing_each_frame=torch.tensor([frame.shape[1] for frame in frames], device=positions.device),
        gazing_mask=gazing_masks(positions, padded, len(frames), grid),
        scales=list(grid.scales),
        num_vision_tokens_each_frame=eos,
        has_task_loss_requirement=requirement is not None,
        task_loss_requirement=requirement,
    )


def concatenated(gazes: Sequence[GazeOutput], grid: PatchGrid) -> GazeOutput:
    """Put the gazes of several batches of videos into one batch, each frame padded to its longest."""
    eos = grid.patches_per_frame
    by_batch = []
    for gaze in gazes:
        slots = gaze.num_gazing_each_frame.tolist()
        indices = gaze.gazing_pos.masked_fill(gaze.if_padded_gazing, -1)
        frames = enumerate(indices.split(slots, dim=1))
        by_batch.append([torch.where(frame < 0, eos, frame - eos * t) for t, frame in frames])
    together = []
    for parts in zip(*by_batch, strict=True):
        longest = max(part.shape[1] for part in parts)
        together.append(torch.cat([F.pad(part, (0, longest - part.shape[1]), value=eos) for part in parts]))
    return gaze_output(together, grid, None)
