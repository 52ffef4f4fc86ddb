"""Generation state: the cache, its lengths, and the groups that are not in the cache yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from autogaze.models.autogaze.cache import KeyValueCache
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import rotations


@dataclass
class GenerationState:
    """The cache, how far each video has come, and the groups that are not in the cache yet.

    A token's slot in the cache is its position id, also after frames were dropped: attention depends on
    distances between positions only, so what remains starts over from position 0, and no stream outgrows the
    table of rotations.
    """

    cache: KeyValueCache
    rotations: Tensor
    """(capacity, head dim / 2) rotary rotation of every position."""
    lengths: list[int]
    """Slots of the cache that each video has filled."""
    pending: Tensor
    """(batch, tokens) last group of the frame before, real gazes to the right; the next prefill feeds it."""
    pending_gazes: list[int]
    """Real gazes in each row of ``pending``."""
    frame_ends: list[list[int]] = field(default_factory=list)
    """For each frame remembered, the slot behind its last token in every video; pending ones count."""
    fused: Any = None
    """What :mod:`.fused_steps` has bound to the cache; nothing that is remembered."""

    @classmethod
    def allocate(
        cls, arch: Architecture, batch: int, budgets: Sequence[int], like: Tensor, attention: str
    ) -> "GenerationState":
        """Return an empty state with room for a frame of each of the ``budgets``, in gazes."""
        capacity = sum(budgets) + len(budgets) * arch.vision_tokens + arch.group
        return cls(
            cache=KeyValueCache(arch, batch, capacity, arch.vision_tokens + arch.group, like, attention),
            rotations=rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, capacity, like.device),
            lengths=[0] * batch,
            pending=torch.empty(batch, 0, dtype=torch.int64, device=like.device),
            pending_gazes=[0] * batch,
        )

    @property
    def batch(self) -> int:
        return len(self.lengths)

    @property
    def frames(self) -> int:
        """Frames remembered."""
        return len(self.frame_ends)

    def end_frame(self) -> None:
        """Note that all patches of a frame have been chosen."""
        self.frame_ends.append([n + gazes for n, gazes in zip(self.lengths, self.pending_gazes)])

    def forget_all(self) -> None:
        """Start over, in the memory there is."""
        self.lengths = [0] * self.batch
        self.pending = self.pending[:, :0]
        self.pending_gazes = [0] * self.batch
        self.frame_ends = []

    def forget_oldest_frame(self) -> None:
        """Drop the tokens of the oldest frame remembered. Later frames keep what they once saw in it."""
        oldest, *later = self.frame_ends
        if not later:  # its last group is still pending, and goes too
            self.forget_all()
            return
        for video, count in enumerate(oldest):
            self.cache.drop(video, count, self.lengths[video], self.rotations[count].conj())
        self.lengths = [n - count for n, count in zip(self.lengths, oldest)]
        self.frame_ends = [[end - count for end, count in zip(ends, oldest)] for ends in later]

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, in tensors (copies) and plain values."""
        filled = max(self.lengths)
        return {
            "keys": self.cache.keys[..., :filled, :].clone(),
            "values": self.cache.values[..., :filled, :].clone(),
            "lengths": self.lengths,
            "pending": self.pending,
            "pending_gazes": self.pending_gazes,
            "frame_ends": [list(ends) for ends in self.frame_ends],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what a state of the same sizes remembered when it gave ``state``."""
        filled = max(state["lengths"])
        self.cache.keys[..., :filled, :] = state["keys"]
        self.cache.values[..., :filled, :] = state["values"]
        self.lengths, self.pending_gazes = list(state["lengths"]), list(state["pending_gazes"])
        self.pending = state["pending"].to(self.pending.device)
        self.frame_ends = [list(ends) for ends in state["frame_ends"]]
