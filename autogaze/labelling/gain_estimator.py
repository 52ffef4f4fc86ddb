"""Estimate of what each patch would gain, from where the reconstruction is wrong: which ones to try.

A patch of a scale can mend its part of the frame as far as that scale shows it, and the reconstructor makes
use of it. So its *score* is the error of the current reconstruction there, less what is left when all patches
of that scale are given. That costs a reconstruction of the frame for each scale, before the search. A gain
that was measured then tells what a score is worth: for that very patch, and for those of its scale that have
not been tried.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.errors import InputError
from autogaze.gaze.grid import PatchGrid, cover, pooled

_KEPT = 0.9
"""Weight of what was learnt about a scale before, each time that something is learnt."""

_FADING = 0.8
"""What is left, each time that something is learnt, of how the worth of a patch that was tried differs from
that of its scale. The frame changes with every patch taken: with worths that last, a search of two frames
came to 1.2 times the loss of one that lets them fade."""

_PRIOR = 1e-4
"""Loss, both gained and scored, that a scale is credited with before anything is learnt: so little that the
first measurement outweighs it."""


class GainEstimator:
    """Guesses for one frame after another of a batch of clips.

    Nothing in it depends on more than one clip. ``rates``, one for each scale, say what share of its score a
    patch gains; without them they are learnt from measured gains, clip by clip. Raises ``InputError`` for
    rates that are not one for each scale.
    """

    def __init__(
        self, grid: PatchGrid, clips: int, device: torch.device, rates: Sequence[float] = ()
    ) -> None:
        self._grid = grid
        counts = torch.tensor(grid.counts, device=device)
        self._scale = torch.arange(len(counts), device=device).repeat_interleave(counts)  # (patches,)
        self._cover = cover(grid).to(device)
        self._gained = torch.full((clips, len(counts)), _PRIOR, device=device)
        self._scored = self._gained.clone()
        self._learns = not rates
        if rates:
            if len(rates) != len(counts):
                raise InputError(f"gain rates {list(rates)} must be one for each of the {len(counts)} scales")
            self._gained = torch.tensor(rates, device=device).expand(clips, -1)
            self._scored = torch.ones_like(self._gained)

    def begin(self, original: Tensor, reconstruction: Tensor, at_best: Sequence[Tensor]) -> None:
        """Go to the next frame: (clips, C, H, W), as it is reconstructed without a patch of its own, and with
        all patches of each scale."""
        self._limits = torch.cat([self._cell_error(picture, original) for picture in at_best], dim=1)
        self._errors = self._cell_error(reconstruction, original)
        shape = len(original), self._grid.patches_per_frame
        self._worth = torch.full(shape, float("nan"), device=original.device)

    def best(self, clips: Tensor, closed: Tensor, count: int) -> Tensor:
        """Return (len(clips), count) int64: the patches of each clip with the greatest guesses, best first.

        ``closed``, (len(clips), patches) bool, says which are out of the question.
        """
        guesses = self._guesses(clips, self._errors[clips]).masked_fill(closed, float("-inf"))
        return guesses.argsort(dim=1, descending=True, stable=True)[:, :count]

    def propose(self, clips: Tensor, closed: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return ``count`` patches to take together, and the gain of each: both (len(clips), count).

        Each is the best after those before it, as far as they mend what they can: a patch that only shows
        again what another shows is not among them.
        """
        errors, closed = self._errors[clips], closed.clone()
        rows, taken, estimated = torch.arange(len(clips), device=clips.device), [], []
        for _ in range(count):
            guesses = self._guesses(clips, errors).masked_fill(closed, float("-inf"))
            worth, patch = guesses.max(dim=1)
            closed[rows, patch] = True
            errors = self._mended(clips, errors, patch)
            taken.append(patch)
            estimated.append(worth.clamp(min=_PRIOR))
        return torch.stack(taken, dim=1), torch.stack(estimated, dim=1)

    def along(self, clips: Tensor, taken: Tensor) -> Tensor:
        """Return what every patch would gain before each of the patches ``taken``, (len(clips), k).

        Returns (len(clips), k, patches): each the guesses after the patches before it, as far as they mend
        what they can.
        """
        errors, guesses = self._errors[clips], []
        for patch in taken.unbind(dim=1):
            guesses.append(self._guesses(clips, errors))
            errors = self._mended(clips, errors, patch)
        return torch.stack(guesses, dim=1)

    def _mended(self, clips: Tensor, errors: Tensor, patch: Tensor) -> Tensor:
        """Return the cells' ``errors`` after one ``patch`` for each clip."""
        limit = self._limits[clips, self._scale[patch]]  # (clips, rows, columns)
        mended = torch.minimum(errors[:, 0], limit)
        return errors + (self._cover[patch] * (mended - errors[:, 0]))[:, None]

    def learn(self, clips: Tensor, tried: Tensor, gains: Tensor) -> None:
        """Take in how much loss the patches ``tried`` take off now; both (len(clips), patches tried).

        One that adds to the loss is taken as one that gains nothing. In a frame of which little is seen,
        patches that are good later on do add to it, and a debt would shut out their scale for good.
        """
        if not self._learns:
            return
        gains = gains.clamp(min=0)
        scores = self._scores(clips, self._errors[clips]).gather(1, tried).clamp(min=_PRIOR)
        rates = self._rates(clips)
        self._worth[clips] = rates + _FADING * (self._worth[clips] - rates)
        self._worth[clips[:, None], tried] = gains / scores
        scale = self._scale[tried]
        for sums, values in ((self._gained, gains), (self._scored, scores)):
            sums[clips] = (_KEPT * sums[clips]).scatter_add(1, scale, values)

    def update(self, clips: Tensor, original: Tensor, reconstruction: Tensor) -> None:
        """Take in the reconstructions, (len(clips), C, H, W), after another patch was chosen."""
        self._errors[clips] = self._cell_error(reconstruction, original)

    def _guesses(self, clips: Tensor, errors: Tensor) -> Tensor:
        """Return (len(clips), patches): what each would gain, where ``errors`` are those of the cells."""
        worth = self._worth[clips]
        return self._scores(clips, errors) * torch.where(worth.isnan(), self._rates(clips), worth)

    def _rates(self, clips: Tensor) -> Tensor:
        """Return (len(clips), patches): the share of its score that a patch of its scale gains."""
        return (self._gained[clips] / self._scored[clips])[:, self._scale]

    def _scores(self, clips: Tensor, errors: Tensor) -> Tensor:
        """Return (len(clips), patches), in units of the L1 loss of the frame."""
        mendable = (errors - self._limits[clips]).relu()  # (clips, scales, rows, columns)
        scales = zip(mendable.split(1, dim=1), self._grid.sides, strict=True)
        return torch.cat([pooled(of_scale, side) for of_scale, side in scales], dim=1)

    def _cell_error(self, picture: Tensor, original: Tensor) -> Tensor:
        """Return (clips, 1, rows, columns): the mean difference in each patch of the finest scale."""
        difference = (picture.float() - original.float()).abs().mean(dim=1, keepdim=True)
        return F.adaptive_avg_pool2d(difference, self._grid.sides[-1])
