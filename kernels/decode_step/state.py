"""State of the gaze decoder on its way through clips: tensors of fixed shape that are updated in place."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class DecoderState:
    """A batch of videos on their way through their frames. B videos, G positions a group, S slots of
    cache."""

    keys: Tensor
    """(layers, B, heads, S + 1, head_dim); the last slot takes what is not kept."""
    values: Tensor
    rotation: Tensor
    """(S or more, head_dim / 2, 2) float32: cosine and sine of every position and rotary pair."""
    length: Tensor
    """(B,) int32: slots of the cache that are filled."""
    step_position: Tensor
    """(B,) int32: rotary position of the first token of a step; of no use where steps go by their slots."""
    group: Tensor
    """(B, G) int64: what the next step feeds; EOS where a position was given up."""
    pending: Tensor
    """(B, G) int64: the last group of each video's frame, which the next prefill feeds."""
    blocked: Tensor
    """(B, vocabulary) float32: -inf for positions that may not be chosen in this frame, else 0."""
    requirement: Tensor
    """(B,) float32: predicted loss at which this frame has enough gazes; -inf for never."""
    budget: Tensor
    """() int32: most gazes in this frame."""
    taken: Tensor
    """(B,) int32: slots of this frame that each video has used; the same for all that have not finished."""
    finished: Tensor
    """(B,) bool: videos that have finished this frame."""
    chosen: Tensor
    """(B, most slots of a frame, rounded up to G, and G more) int64: this frame's slots, EOS where padded."""

    @classmethod
    def allocate(
        cls, keys: Tensor, values: Tensor, rotation: Tensor, *, group: int, vocabulary: int, most: int
    ) -> "DecoderState":
        """Return the state of videos of which nothing is remembered yet, on the caches given.

        ``keys``, ``values`` and ``rotation`` are the state's, and say its sizes; ``group`` positions are
        chosen at once, of ``vocabulary`` with EOS, and at most ``most`` in a frame.
        """
        batch, device = keys.shape[1], keys.device

        def whole(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int32, device=device)

        def positions(width: int) -> Tensor:
            return torch.full((batch, width), vocabulary - 1, dtype=torch.int64, device=device)

        return cls(
            keys=keys,
            values=values,
            rotation=rotation,
            length=whole(batch),
            step_position=whole(batch),
            group=positions(group),
            pending=positions(group),
            blocked=torch.zeros(batch, vocabulary, dtype=torch.float32, device=device),
            requirement=torch.full((batch,), float("-inf"), dtype=torch.float32, device=device),
            budget=whole(),
            taken=whole(batch),
            finished=torch.zeros(batch, dtype=torch.bool, device=device),
            chosen=positions((-(-most // group) + 1) * group),
        )

    @property
    def eos(self) -> int:
        return self.blocked.shape[1] - 1

    @property
    def spare(self) -> int:
        """The slot that takes what is not kept."""
        return self.keys.shape[3] - 1

    @property
    def books(self) -> dict[str, Tensor]:
        """What changes from launch to launch, by name: all but caches and rotations."""
        fixed = ("keys", "values", "rotation")
        return {name: tensor for name, tensor in vars(self).items() if name not in fixed}

    @property
    def lengths(self) -> list[int]:
        """What ``length`` says, on the host, which waits for it."""
        return [int(n) for n in self.length.tolist()]


def begin_clip(state: DecoderState) -> None:
    """Forget all frames: the cache counts as empty, and nothing is pending."""
    for tensor in (state.length, state.step_position, state.taken, state.finished):
        tensor.zero_()
    state.pending.fill_(state.eos)


def limit_frame(state: DecoderState, budget: int, requirement: Tensor | None) -> None:
    """Say how many gazes the next frame may have, and at which predicted losses (B,) it has enough; None for
    never."""
    state.budget.fill_(budget)
    if requirement is None:
        state.requirement.fill_(float("-inf"))
    else:
        state.requirement.copy_(requirement)


def begin_frame(state: DecoderState) -> None:
    """Forget the frame before: nothing is chosen, blocked or finished. Its last group stays pending."""
    state.blocked.zero_()
    state.blocked[:, -1] = float("-inf")
    state.taken.zero_()
    state.finished.zero_()
    state.chosen.fill_(state.eos)
