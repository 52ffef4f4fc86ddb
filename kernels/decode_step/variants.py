"""Variants of the Triton launches of a step and of a frame, by name; loads no torch, for those who plan.

All choose the same up to rounding. Which is faster only a GPU can say, so each can be measured: a variant of
a step as a form of the operation ``decode_step``, one of a frame as an engine of the gaze model.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """How a step is launched."""

    combine_in_attend: bool = False
    """The last program of a head to arrive combines its splits, one after another; ``combine`` is then a
    plain projection, of one read where it was one a block."""
    ieee: bool = False
    """float32 products by multiplication instead of three products in TF32: fewer instructions, in blocks
    half as wide of twice the warps."""
    dependent: bool = False
    """Each kernel begins while the one before it ends, fetches its first weights, and waits for it
    (programmatic dependent launch). Needs ``combine_in_attend``, and compute capability 9.0."""


PLAIN = Variant()


@dataclass(frozen=True)
class FrameVariant:
    """How a frame is launched."""

    step: Variant = PLAIN
    prefill: bool = False
    """Whether the prefill is made of the step's kernels, 22 launches, where it was plain operations."""
    steps: int | None = 1
    """Steps of a launch of the host; None for all of a frame at once, or a few where one may end early."""


STEPS = {
    "combine_in_attend": Variant(combine_in_attend=True),
    "ieee": Variant(combine_in_attend=True, ieee=True),
    "dependent": Variant(combine_in_attend=True, ieee=True, dependent=True),
}
"""To be measured beside :data:`PLAIN`. Each has what the ones before it have, so that neighbours differ in
one thing."""

FRAMES = {
    "combine_in_attend": FrameVariant(STEPS["combine_in_attend"]),
    "ieee": FrameVariant(STEPS["ieee"]),
    "prefill": FrameVariant(STEPS["ieee"], prefill=True),
    "whole_frame": FrameVariant(STEPS["ieee"], prefill=True, steps=None),
    "dependent": FrameVariant(STEPS["dependent"], prefill=True, steps=None),
}
"""To be measured beside ``FrameVariant()``; they add up likewise."""


def measured_as(name: str) -> str:
    """Return what the variant of that name is called among the forms of an operation, and among engines."""
    return f"triton_{name}"
