"""The beginning of a frame: the one before is forgotten, its last group and the vision tokens are fed.

The rules are those of generation, :mod:`kernels.decode_step.reference`.
"""

from torch import Tensor

from kernels.decode_step.layers import Weights
from kernels.decode_step.reference import prefill
from kernels.decode_step.state import DecoderState, begin_frame


def begin(state: DecoderState, weights: Weights, vision: Tensor, ended: Tensor | None = None) -> Tensor:
    """Feed a frame's ``vision`` tokens (B, tokens, C) and choose its first group; return what it was chosen
    from, as :func:`kernels.decode_step.reference.step` does. ``ended`` is as there."""
    begin_frame(state)
    return prefill(state, weights, vision, ended=ended)
