"""Scores that are worked out when they are read: calls that nobody asks for scores cost nothing more."""

import weakref
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor

from autogaze.gaze.output import GazeOutput

Score = Callable[[], tuple[Tensor, Tensor]]
"""Returns log-probabilities and predicted losses, (batch, gazes) each."""


class Unscored:
    """The gazes of a model's latest call, and how to score them.

    The model holds it until its next call, and the output only for as long as the model does: what it takes
    to score is megabytes, and outputs may be kept by the thousand.
    """

    def __init__(self, score: Score, version: Callable[[], object], device: str) -> None:
        """``version`` returns something else once the model has changed, and ``device`` is its kind."""
        self._score, self._version, self._then, self._device = score, version, version(), device
        self._inference, self._grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        self._autocast = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)

    def offer(self, output: GazeOutput) -> None:
        """Have ``output`` scored when it is asked for its scores."""
        reference = weakref.ref(self)

        def scorer() -> tuple[Tensor, Tensor] | None:
            unscored = reference()
            return None if unscored is None else unscored.scores()

        output.score_later(scorer)

    def scores(self) -> tuple[Tensor, Tensor] | None:
        """Return what the call would have, under its own modes of gradients and precision; None where the
        model has changed since."""
        if self._version() != self._then:
            return None
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(self._inference))
            modes.enter_context(torch.set_grad_enabled(self._grad))
            modes.enter_context(torch.autocast(self._device, *self._autocast))
            return self._score()

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        return None  # A copy of the model has made no call.

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()
