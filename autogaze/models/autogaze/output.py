"""What the gaze model, and every other patch selector, returns."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from autogaze.outputs import KeyedOutput
from autogaze.packed import PackedGaze, count_gazes
from autogaze.patches import PatchGrid


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
    log_action_probs: Tensor | None = None
    """(B, N) log-probability of each gaze; only after scoring."""
    task_loss_prediction: Tensor | None = None
    """(B, N) predicted reconstruction loss after each slot; only after scoring."""
    has_task_loss_requirement: bool = False
    task_loss_requirement: Tensor | None = None
    """(B, T) requested reconstruction loss."""

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


def gazing_masks(gazing_pos: Tensor, if_padded_gazing: Tensor, frames: int, grid: PatchGrid) -> list[Tensor]:
    """Return one (B, frames, patches of the scale) mask of zeros and ones for each scale of ``grid``."""
    batch, places = gazing_pos.shape[0], frames * grid.patches_per_frame
    mask = torch.zeros(batch, places + 1, device=gazing_pos.device)
    mask.scatter_(1, gazing_pos.masked_fill(if_padded_gazing, places), 1.0)
    return list(mask[:, :-1].view(batch, frames, grid.patches_per_frame).split(grid.counts, dim=-1))
