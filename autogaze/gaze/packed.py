"""Gazes without padding: those of all videos in one row.

In a thresholded mode nine of ten slots of a padded gaze hold nothing. A row holds the real gazes only, so
whatever works token by token (embedding, projections, perceptrons) costs what was gazed at and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from autogaze.attention import Kind, PackedLayout


@dataclass(frozen=True, eq=False)
class PackedGaze:
    """The real gazes of a batch in a row: video by video, frame by frame, in the order they were chosen.

    With B videos, T frames and N slots in the padded form.
    """

    positions: Tensor
    """(total,) int64: ``frame * patches_per_frame + patch index``."""
    slots: Tensor
    """(total,) int64: the place of each gaze in the padded form, ``video * N + slot``."""
    gazes_each_frame: tuple[tuple[int, ...], ...]
    """For each video the gazes in each of its T frames."""
    num_gazing_each_frame: tuple[int, ...]
    """Slots of each frame in the padded form."""
    num_vision_tokens_each_frame: int
    """Candidate patches in each frame, over all scales."""

    @classmethod
    def from_padded(
        cls,
        gazing_pos: Tensor,
        if_padded_gazing: Tensor,
        num_gazing_each_frame: Sequence[int],
        num_vision_tokens_each_frame: int,
    ) -> "PackedGaze":
        """Leave the padding out of (B, N) positions; reads the device once."""
        slots = (~if_padded_gazing).flatten().nonzero().squeeze(1)
        gazes = count_gazes(if_padded_gazing, num_gazing_each_frame)
        return cls(
            positions=gazing_pos.flatten()[slots],
            slots=slots,
            gazes_each_frame=tuple(tuple(video) for video in gazes.tolist()),
            num_gazing_each_frame=tuple(num_gazing_each_frame),
            num_vision_tokens_each_frame=num_vision_tokens_each_frame,
        )

    @property
    def batch(self) -> int:
        """Videos."""
        return len(self.gazes_each_frame)

    @property
    def frames(self) -> int:
        """Frames of each video."""
        return len(self.num_gazing_each_frame)

    @property
    def if_padded_gazing(self) -> Tensor:
        """(B, N) bool: True where the padded form holds no gaze."""
        return self.pad(torch.ones_like(self.slots, dtype=torch.bool)).logical_not()

    def frame_of_gaze(self) -> Tensor:
        """Return (total,) int64, on the host: ``video * T + frame`` of each gaze."""
        gazes = torch.tensor(list(chain.from_iterable(self.gazes_each_frame)), dtype=torch.int64)
        return torch.arange(len(gazes)).repeat_interleave(gazes)

    def places(self) -> Tensor:
        """Return (total,) int64: where each gaze lies among all patches of all videos,
        ``video * T * patches_per_frame + position``."""
        video = self.frame_of_gaze().to(self.positions.device) // max(self.frames, 1)
        return self.positions + video * self.frames * self.num_vision_tokens_each_frame

    def layout(self, kind: Kind, frame_independent: bool = False, class_token: bool = False) -> PackedLayout:
        """Return who sees whom among the gazes."""
        return PackedLayout(self.gazes_each_frame, kind, frame_independent, class_token)

    def pad(self, rows: Tensor) -> Tensor:
        """Bring (total, ...) into the padded form, (B, N, ...), with zeros at padded slots."""
        slots = sum(self.num_gazing_each_frame)
        padded = rows.new_zeros(self.batch * slots, *rows.shape[1:]).index_copy(0, self.slots, rows)
        return padded.view(self.batch, slots, *rows.shape[1:])


def count_gazes(if_padded_gazing: Tensor, num_gazing_each_frame: Sequence[int]) -> Tensor:
    """Return (B, T) int64, on the host: the slots of each frame that are not padded."""
    by_frame = if_padded_gazing.logical_not().cpu().split(list(num_gazing_each_frame), dim=1)
    return torch.stack([frame.sum(dim=1) for frame in by_frame], dim=1)
