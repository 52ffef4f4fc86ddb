"""Seeds: random numbers that depend on where in training they are drawn, and on nothing else.

No random state is carried along: every draw starts from a seed made of the run's seed and the place (step,
video, purpose). So a resumed run draws what an uninterrupted one would have drawn, and the number of
processes matters only where videos that go through the model together are drawn for together, as in rollouts.
"""

import zlib

import numpy as np
import torch


def derived_seed(seed: int, *place: int | str) -> int:
    """Return a 63-bit seed for one place of a run; words are told apart by their CRC-32."""
    words = [zlib.crc32(word.encode()) if isinstance(word, str) else word for word in (seed, *place)]
    # numpy promises that a SeedSequence gives the same words in every version. It takes missing words for
    # zeros, so their number goes along.
    return int(np.random.SeedSequence([*words, len(words)]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *place: int | str) -> torch.Generator:
    """Return a fresh generator on the host for one place of a run."""
    return torch.Generator().manual_seed(derived_seed(seed, *place))


def seed_torch(seed: int, *place: int | str) -> None:
    """Seed torch's own generators, for functions that draw from them, on the host and on every device."""
    torch.manual_seed(derived_seed(seed, *place))
