"""Streaming by the released keywords: what one call hands to the next is a :class:`GazeStream`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.output import GazeOutput
from autogaze.models.autogaze.gazing_model import GazingModel
from autogaze.models.autogaze.generation import GazeRequest
from autogaze.models.autogaze.streaming import GazeStream

_ROOM = 4
"""Frames that a stream has room for at first; it doubles what it has."""
PASTS = ("past_key_values", "past_input_embeds", "past_attention_mask", "past_conv_values")
"""Keys of an output."""
PAST_ARGUMENTS = ("past_key_values", "past_inputs_embeds", "past_attention_mask", "past_conv_values")
"""The keywords by which they are handed back, in the same order; one has another name."""


@dataclass(frozen=True, eq=False)
class Past:
    """A stream at the end of a call. It stands for all four values, and can be gone on from once."""

    stream: GazeStream
    frames_seen: int
    """Frames that the stream had seen."""
    weights: tuple[object, ...]
    """Which weights it saw them with."""


Pasts = Sequence[Past | None]
"""What was handed back, in the order of :data:`PAST_ARGUMENTS`."""


def follow(
    model: GazingModel,
    video: Tensor,
    request: GazeRequest,
    past: Pasts,
    *,
    use_cache: bool,
) -> GazeOutput:
    """Choose patches of the frames that follow ``past``, or of the first ones.

    ``past`` are what an earlier output holds under the keys :data:`PASTS`, or four times None. The output
    holds them with ``use_cache``. Nothing is forgotten, so memory grows with the stream, as in the released
    package.

    Raises:
        InputError: for a past that is incomplete, of several outputs, gone on from already, or of other
            weights; and for sampling.
    """
    if request.temperature is not None:
        raise InputError("streams take the best patches and do not sample: call eval() on the model first")
    weights = model.version()
    before = _the_one(past)
    if before is None:
        stream = GazeStream(model, batch=len(video), gazing_ratio=1.0, policy="keep", window=_ROOM)
    else:
        stream = before.stream
        if before.frames_seen != stream.frames_seen:
            raise InputError(
                f"past_key_values is of {before.frames_seen} frames and the stream has gone on to "
                f"{stream.frames_seen}: hand on what the latest call returned"
            )
        if before.weights != weights:
            raise InputError(
                "the model has changed since the stream began: begin anew, without past_key_values"
            )
    output = stream.push_within(video, request)
    now = Past(stream, stream.frames_seen, weights)
    return hand_on(output, dict.fromkeys(PASTS, now if use_cache else None))


def hand_on(output: GazeOutput, made: Mapping[str, Any]) -> GazeOutput:
    """Put what ``made`` holds for the next call into ``output``, and return that."""
    for name in PASTS:
        setattr(output, name, made.get(name))
    return output


def _the_one(past: Pasts) -> Past | None:
    first = past[0]
    if any(part is not first for part in past):
        raise InputError(
            "past_key_values, past_inputs_embeds, past_attention_mask and past_conv_values go together: hand "
            "on all four, of one earlier output"
        )
    if first is not None and not isinstance(first, Past):
        raise InputError(
            f"past_key_values is a {type(first).__name__}: hand on what an earlier call with use_cache=True "
            "returned, or use GazeStream"
        )
    return first
