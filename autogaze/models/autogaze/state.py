"""State of generation between frames: the decoder's tensors, its cache, and where each frame ends in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.models.autogaze.cache import KeyValueCache
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder import rotations
from autogaze.stages import count
from kernels.decode_step.layers import Weights, decode
from kernels.decode_step.reference import Block
from kernels.decode_step.state import DecoderState, begin_clip

_WHOLE_SLOTS = 64


@dataclass(frozen=True)
class _Binding:
    given: tuple[object, ...]
    made: object
    """On the memory of ``given``; a copy of that is bound anew."""

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        pass

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


@dataclass
class GenerationState:
    """The decoder's state on a cache of which the host knows how far it is filled.

    A token's slot in the cache is its position id, also after frames were dropped: attention depends on
    distances between positions only, so what remains starts over from position 0, and no stream outgrows the
    table of rotations.
    """

    cache: KeyValueCache
    decoder: DecoderState
    """On the keys and values of ``cache``."""
    frame_ends: list[list[int]] = field(default_factory=list)
    """For each frame remembered, the slot behind its last token in every video; pending ones count."""
    whole: bool = False
    """Whether all slots are read at once, and what is not visible masked out."""
    _binding: "_Binding | None" = None

    @classmethod
    def allocate(
        cls,
        arch: Architecture,
        batch: int,
        budgets: Sequence[int],
        like: Tensor,
        attention: str,
        *,
        filled: bool = False,
        clean: bool = True,
        whole: bool = False,
    ) -> "GenerationState":
        """Return an empty state with room for a frame of each of the ``budgets``, in gazes; ``filled`` and
        ``clean`` as for the cache. ``whole`` says that all slots will be read at once, and makes a length of
        the cache that fused attention likes."""
        capacity = sum(budgets) + len(budgets) * arch.vision_tokens + arch.group
        if whole:  # a captured step is launched behind the last one too, and there is a spare slot
            capacity = -(-(capacity + arch.group + 1) // _WHOLE_SLOTS) * _WHOLE_SLOTS - 1
        block = arch.vision_tokens + arch.group
        cache = KeyValueCache(arch, batch, capacity, block, like, attention, filled=filled, clean=clean)
        table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, capacity, like.device)
        decoder = DecoderState.allocate(
            cache.keys, cache.values, torch.view_as_real(table),
            group=arch.group, vocabulary=arch.vocabulary, most=max(budgets),
        )  # fmt: skip
        return cls(cache, decoder, whole=whole)

    @property
    def batch(self) -> int:
        return len(self.decoder.length)

    @property
    def frames(self) -> int:
        """Frames remembered."""
        return len(self.frame_ends)

    def feed(self, decoder: DecoderState, weights: Weights, x: Tensor, block: Block) -> Tensor:
        """Run the layers on a block as a :data:`~kernels.decode_step.reference.Feed` does, over the slots
        that are filled: the host looks how many they are. Filling that every video has is left out."""
        filling = torch.zeros_like(block.first) if block.filling is None else block.filling
        first, positions, skip = torch.stack([block.first, block.position, filling]).tolist()
        needless = min(skip)
        x = x[:, needless:]
        if block.filling is not None:
            count("prefill_tokens", x.shape[1])
        starts = [slot + tokens for slot, tokens in zip(first, skip)]
        placement = self.cache.place(starts, x.shape[1], [tokens - needless for tokens in skip])
        rotation = _rows(decoder.rotation, [position + needless for position in positions], x.shape[1])
        attention = self.cache.attention(placement)
        return decode(x, weights, decoder.keys.shape[2], rotation, attention, last=1)[:, -1]

    def bound(self, bind: Callable[..., object], weights: Weights, sequential: bool) -> object:
        """Return what ``bind`` makes of the decoder's state, ``weights`` and whether steps are sequential;
        made once, as long as these stay the same."""
        given, binding = (bind, weights, self.decoder, sequential), self._binding
        if binding is None or any(a is not b for a, b in zip(binding.given, given, strict=True)):
            binding = self._binding = _Binding(given, bind(self.decoder, weights, sequential))
        return binding.made

    def end_frame(self) -> None:
        """Note that all patches of a frame have been chosen."""
        pending = (self.decoder.pending != self.decoder.eos).sum(dim=1)
        self.frame_ends.append((self.decoder.length + pending).tolist())

    def forget_all(self) -> None:
        """Start over, in the memory there is."""
        if self.whole:  # what is masked is still multiplied, and no weight of 0 undoes a NaN
            self.decoder.keys.zero_()
            self.decoder.values.zero_()
        begin_clip(self.decoder)
        self.frame_ends = []

    def forget_oldest_frame(self) -> None:
        """Drop the tokens of the oldest frame remembered. Later frames keep what they once saw in it."""
        oldest, *later = self.frame_ends
        if not later:  # its last group is still pending, and goes too
            self.forget_all()
            return
        rotation, lengths = torch.view_as_complex(self.decoder.rotation), self.decoder.lengths
        for video, tokens in enumerate(oldest):
            self.cache.drop(video, tokens, lengths[video], rotation[tokens].conj())
        self.decoder.length -= torch.tensor(oldest, dtype=torch.int32, device=self.decoder.length.device)
        self.frame_ends = [[end - tokens for end, tokens in zip(ends, oldest)] for ends in later]

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, in tensors (copies) and plain values."""
        lengths = self.decoder.lengths
        filled = max(lengths)
        return {
            "keys": self.cache.keys[..., :filled, :].clone(),
            "values": self.cache.values[..., :filled, :].clone(),
            "lengths": lengths,
            "pending": self.decoder.pending.clone(),
            "frame_ends": [list(ends) for ends in self.frame_ends],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what a state of the same sizes remembered when it gave ``state``."""
        filled = max(state["lengths"])
        self.cache.keys[..., :filled, :] = state["keys"]
        self.cache.values[..., :filled, :] = state["values"]
        self.decoder.length.copy_(torch.tensor(state["lengths"]))
        # States of earlier versions hold no padding in front.
        missing = self.decoder.pending.shape[1] - state["pending"].shape[1]
        self.decoder.pending.copy_(F.pad(state["pending"], (missing, 0), value=self.decoder.eos))
        self.frame_ends = [list(ends) for ends in state["frame_ends"]]


def _rows(table: Tensor, first: Sequence[int], tokens: int) -> Tensor:
    """Return complex (1 or batch, tokens, head_dim / 2) rows of a table of rotations, from each video's first
    position on."""
    if len(set(first)) == 1:
        return torch.view_as_complex(table[first[0] : first[0] + tokens])[None]
    rows = torch.tensor(first, device=table.device)[:, None] + torch.arange(tokens, device=table.device)
    return torch.view_as_complex(table[rows.clamp(min=0)])
